"""Safetensors files read without PyTorch: what their header says, and whether their numbers are finite."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sluicegate.errors import AdapterError

HINT = "The adapter is not loaded. Tune again, or restore the folder from where it came."


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a safetensors header says of one tensor; `begin` and `end` count bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


_EXPONENTS = {
    "F64": ("<u8", 0x7FF0 << 48),
    "F32": ("<u4", 0x7F80 << 16),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""How to read a type of number as bits, and where its exponent is."""


def header(path: Path) -> tuple[dict[str, Tensor], int]:
    """Name to type, shape and place of every tensor, and where their bytes begin.

    Raises:
        AdapterError: it is not a safetensors file, or it was cut short.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with (
            safe_open(path, framework="np"),
            path.open("rb") as stream,
        ):  # opening checks sizes, offsets and overlaps
            length = int.from_bytes(stream.read(8), "little")
            found = json.loads(stream.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(f"{path} is not a safetensors file: {error}", hint=HINT) from error
    found.pop("__metadata__", None)
    return {
        name: Tensor(t["dtype"], tuple(t["shape"]), *t["data_offsets"]) for name, t in found.items()
    }, 8 + length


def finite(path: Path, start: int, tensor: Tensor) -> bool:
    """Are all values numbers? An infinity or NaN has every bit of its exponent set; integers are no weights."""
    import numpy as np

    if tensor.dtype not in _EXPONENTS:
        return False
    kind, exponent = _EXPONENTS[tensor.dtype]
    with path.open("rb") as stream:
        stream.seek(start + tensor.begin)
        bits = np.frombuffer(stream.read(tensor.end - tensor.begin), kind)
    return not bool(((bits & bits.dtype.type(exponent)) == exponent).any())
