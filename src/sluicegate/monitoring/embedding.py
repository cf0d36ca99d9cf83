"""The encoder of embeddings in profiles: the packaged all-MiniLM-L6-v2, or a folder's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.drift import Embedded, TextEncoder, block_numbers, embed, smallest
from sluicegate.drift.embedded import MOST
from sluicegate.metrics.encoder import encoder_digest, open_encoder
from sluicegate.monitoring.rows import Row

PACKAGED = "packaged"
_LONGEST = 4_000  # characters; encoders read a few hundred tokens


@dataclass(slots=True)
class SentenceEncoder:
    """An encoder of `metrics/encoder.py`, loaded when first used; `identity` is its digest."""

    folder: str
    identity: str

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One vector of length 1 for each text, of its first 4,000 characters."""
        cut = [text[:_LONGEST].encode("utf-8", "replace").decode("utf-8") for text in texts]
        return open_encoder(self.folder).sentences(cut)


def text_encoder(name: str) -> TextEncoder | None:
    """The encoder that params.yaml names: "" for none, `packaged`, or a folder.

    Raises:
        MissingExtraError: the packaged one is not installed.
        ModelError: the folder holds no encoder.
    """
    if not name:
        return None
    folder = "" if name == PACKAGED else name
    return SentenceEncoder(folder, encoder_digest(folder))


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

    def embedded(self, encoder: TextEncoder) -> Embedded:
        """Encode what was kept; rows that lack a text are left out."""
        whole = [
            place
            for place, (asked, answered) in enumerate(self.texts)
            if asked is not None and answered is not None
        ]
        prompts, responses = ([self.texts[place][side] or "" for place in whole] for side in (0, 1))
        return embed(encoder, prompts, responses, self.blocks[whole], self.cut)


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) else None
