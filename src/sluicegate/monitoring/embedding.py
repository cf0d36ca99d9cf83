"""The encoder of embeddings in profiles: the packaged all-MiniLM-L6-v2, or a folder's."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift import Embedded, TextEncoder, block_numbers, embed, smallest
from sluicegate.drift.embedded import MOST
from sluicegate.hashing import digest_file
from sluicegate.metrics.encoder import MODULE, encoder_digest, encoder_folder, open_encoder
from sluicegate.monitoring.rows import Row

AUTO, PACKAGED = "auto", "packaged"
_NONE = ("", "none")
_LONGEST = 4_000  # characters; encoders read a few hundred tokens


@dataclass(slots=True)
class SentenceEncoder:
    """An encoder of `metrics/encoder.py`, loaded when first used; `identity` is its digest."""

    folder: str
    identity: str
    weights: str

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 for each text, of its first 4,000 characters."""
        cut = [text[:_LONGEST].encode("utf-8", "replace").decode("utf-8") for text in texts]
        return open_encoder(self.folder).sentences(cut)


def text_encoder(name: str) -> TextEncoder | None:
    """The encoder that params.yaml names: `none` or "", `packaged`, a folder, or `auto`, which is
    the packaged one where the extra `metrics` is installed and else none.

    Raises:
        MissingExtraError: `packaged`, which is not installed.
        ModelError: the folder holds no encoder.

    Example:
        >>> text_encoder("none") is None
        True
    """
    if name in _NONE or (name == AUTO and not _installed()):
        return None
    folder = "" if name in (AUTO, PACKAGED) else name
    files = list(encoder_folder(folder).glob("*.safetensors"))
    weights = digest_file(files[0]) if len(files) == 1 else ""
    return SentenceEncoder(folder, encoder_digest(folder), weights)


def _installed() -> bool:
    return all(importlib.util.find_spec(module) for module in (MODULE, "sentence_transformers"))


class Kept:
    """The texts that will be encoded of a window: those of the smallest blocks, 1,000 rows."""

    def __init__(self) -> None:
        self.texts: list[tuple[str | None, str | None]] = []
        self.blocks: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.cut = 2**64 - 1

    def add(self, rows: Sequence[Row], start: int) -> None:
        """Look at some more rows."""
        self.texts += [(_text(row.get("prompt")), _text(row.get("response"))) for row in rows]
        places, self.cut = smallest(
            np.concatenate([self.blocks, block_numbers(rows, start)]), self.cut, MOST
        )
        self.blocks = np.concatenate([self.blocks, block_numbers(rows, start)])[places]
        self.texts = [self.texts[place] for place in places.tolist()]

    def whole(self) -> list[int]:
        """Places of the rows that have both texts."""
        return [
            place
            for place, (asked, answered) in enumerate(self.texts)
            if asked is not None and answered is not None
        ]

    def embedded(self, encoder: TextEncoder) -> Embedded:
        """Encode what was kept; rows that lack a text are left out."""
        whole = self.whole()
        prompts, responses = ([self.texts[place][side] or "" for place in whole] for side in (0, 1))
        return embed(encoder, prompts, responses, self.blocks[whole], self.cut)


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None
