"""A linear head on an encoder's vectors: how toxic a text is.

The coefficients are in `toxicity.json`, beside the name of what they were fitted on, its
licence, and the digest of the weights whose vectors they read; `benchmarks/toxicity_head.py` fits
them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Head:
    """A logistic regression; `encoder` is the SHA-256 of the weights that its vectors come from."""

    encoder: str
    weights: NDArray[np.float64]
    bias: float

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """0 (as most texts) to 1, one for each vector."""
        found: NDArray[np.float64] = 1 / (1 + np.exp(-(vectors @ self.weights + self.bias)))
        return found


@cache
def toxicity_head() -> Head:
    """That for all-MiniLM-L6-v2.

    Example:
        >>> head = toxicity_head()
        >>> head.scores(np.zeros((1, 384), np.float32)).shape
        (1,)
    """
    found = json.loads(files("sluicegate.drift").joinpath("toxicity.json").read_text("utf-8"))
    return Head(found["encoder"], np.array(found["weights"]), float(found["bias"]))
