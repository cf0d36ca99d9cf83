"""Whether the answer is in the language of what the model was given."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sluicegate.metrics.base import optional

SHORT = 20  # letters; below this the language cannot be told, only the script


def same_language(source: str, output: str, references: Sequence[str] = ()) -> float:
    """1 when source and output are in one language, else 0; higher is better.

    Where either has fewer than 20 letters only the script (Latin, Arabic, ...) is compared, and a
    text without letters agrees with every other. 0 when the output is blank. Source: M. Lui and T.
    Baldwin, "langid.py: an off-the-shelf language identification tool", ACL 2012, in its successor
    py3langid.

    Raises:
        MissingExtraError: py3langid is not installed.

    Example:
        >>> same_language("Where is my parcel? It should be here.", "Der Kunde fragt, wo sein Paket geblieben ist.")
        0.0
    """
    if not output.strip():
        return 0.0
    if _letters(source) >= SHORT and _letters(output) >= SHORT:
        return float(language_of(source) == language_of(output))
    mine, theirs = script_of(output), script_of(source)
    return float(not mine or not theirs or mine == theirs)


@lru_cache(maxsize=8192)
def language_of(text: str) -> str:
    """The ISO 639-1 code of the most likely language of `text`; of a few words it is a guess.

    Raises:
        MissingExtraError: py3langid is not installed.

    Example:
        >>> language_of("The customer asks for a refund.")
        'en'
    """
    return str(_identifier().classify(text)[0])


def script_of(text: str) -> str:
    """The script of most letters by Unicode name (LATIN, ARABIC, CJK, ...); empty without letters.

    Example:
        >>> script_of("مرحبا")
        'ARABIC'
    """
    names = Counter(
        unicodedata.name(char, "").partition(" ")[0] for char in text[:10_000] if char.isalpha()
    )
    return names.most_common(1)[0][0] if names else ""


@lru_cache(maxsize=8192)
def _letters(text: str) -> int:
    return sum(char.isalpha() for char in text)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    langid = optional("py3langid.langid", "py3langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)
