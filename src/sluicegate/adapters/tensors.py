"""Safetensors files read without PyTorch: what their header says, and how large their numbers are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sluicegate.errors import AdapterError

HINT = "The adapter is not loaded. Tune again, or restore the folder from where it came."


@dataclass(frozen=True, slots=True)
class Tensor:
    """A safetensors header on one tensor; `begin` and `end` count bytes from the header's end."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How numpy reads a type of number; bfloat16 is the upper half of a float32."""
_PIECE = 1 << 24
MAX_HEADER_BYTES = 16 * 1024**2


def header(path: Path) -> tuple[dict[str, Tensor], int]:
    """Name to type, shape and place of every tensor, and where their bytes begin.

    Raises:
        AdapterError: it is not a safetensors file, or it was cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header would have {length:,} bytes")
            with safe_open(path, framework="np"):  # checks sizes, offsets and overlaps
                found = json.loads(stream.read(length))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} is not a safetensors file: {error}", hint=HINT) from error
    found.pop("__metadata__", None)
    return {
        name: Tensor(t["dtype"], tuple(t["shape"]), *t["data_offsets"]) for name, t in found.items()
    }, 8 + length


def largest(path: Path, start: int, tensor: Tensor) -> float:
    """The largest absolute value; not finite where one value is, and for integers."""
    import numpy as np

    if tensor.dtype not in _KINDS:
        return float("nan")
    found, left = 0.0, tensor.end - tensor.begin
    with path.open("rb") as stream:
        stream.seek(start + tensor.begin)
        while left > 0:
            values = np.frombuffer(stream.read(min(_PIECE, left)), _KINDS[tensor.dtype])
            left -= values.nbytes
            if not values.nbytes:
                return float("nan")
            if tensor.dtype == "BF16":
                values = (values.astype(np.uint32) << 16).view(np.float32)
            found = float(np.maximum(found, np.abs(values).max()))
            if found != found:
                return found
    return found
