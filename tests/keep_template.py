"""Run at each release: `python tests/keep_template.py` keeps this version's template for merges."""

from __future__ import annotations

from pathlib import Path

from sluicegate import __version__
from sluicegate.scaffold.template import TEMPLATES, TUNED, archive, files

TARGET = Path(__file__).parents[1] / "src" / "sluicegate" / "scaffold" / "history"

if __name__ == "__main__":
    for kind in TEMPLATES:
        kept = TARGET / f"{__version__}{'' if kind == TUNED else f'-{kind}'}.zip"
        with kept.open("xb") as stream:  # what was released stays as it was
            stream.write(archive(files(kind)))
        print(kept)
