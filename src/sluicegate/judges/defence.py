"""Why a judge is not talked round: marks that data cannot end, answers that need no judge, and
answers that it is shown apart from their source.

The marks hold a key, the digest of everything that is shown: a text that names its own key would
have to contain its own SHA-256. Equal rows have equal keys, so that the cache works anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from sluicegate.hashing import digest_value
from sluicegate.judges.base import JudgeRow, Opinion
from sluicegate.judges.criteria import Criterion

KEY_LENGTH = 24
CANNED_SOURCES = 3
CANNED_SHARE = 0.1
ECHO_SLACK = 1.1
"""An answer that holds the whole source and little more is an echo of it."""

_INVISIBLE = re.compile(
    r"[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4"
    r"\u17b5\u180b-\u180f"
    r"\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# joins nothing there
_LONE_JOINER = re.compile(r"(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])")
_LINE_END = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_LESS, _MORE, _BAR, _OPEN, _CLOSE = "[<＜﹤]", "[>＞﹥]", "[|｜]", r"[\[［]", r"[\]］]"
_TAGS = (
    r"s|bos|eos|pad|unk|think|thinking|reasoning|scratchpad|start_of_turn|end_of_turn"
    r"|start_of_image|im_start|im_end|im_sep|endoftext|begin_of_text|end_of_text|eot_id|system|user"
    r"|assistant|human|model|instructions?|tool_calls?|tool_response|function_calls?|unused\d+"
    r"|extra_id_\d+|fim_\w+"
)
_GAP = r"\s{0,4}"  # bounded, so that no text takes longer than its length
_ROLES = re.compile(
    rf"{_LESS}{_GAP}(?={_BAR})|(?<={_BAR}){_GAP}{_MORE}|{_LESS}{{1,3}}{_GAP}/?{_GAP}(?:{_TAGS}"
    rf"|/?SYS){_GAP}/?{_GAP}{_MORE}{{1,3}}|{_OPEN}{_GAP}/?{_GAP}(?:INST|SYS|SYSTEM|USER|ASSISTANT"
    rf"|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|CLS|SEP|MASK){_GAP}{_CLOSE}"
    rf"|{_OPEN}\s*(?=(?:BEGIN|END)\b)",
    re.IGNORECASE,
)
_HARMLESS = str.maketrans(dict.fromkeys("<＜﹤[［", "‹") | dict.fromkeys(">＞﹥]］", "›"))
_WORDS = re.compile(r"\w+")
_OPENERS = frozenset({
    "solution", "the solution", "answer", "the answer", "final answer", "the final answer is",
    "thought process", "reasoning", "explanation", "analysis", "step 1", "here is the answer",
    "here is my answer", "lets begin", "lets think step by step", "let s think step by step",
    "here is the summary", "let s begin", "lets solve this problem step by step",
    "let s solve this problem step by step", "let me solve this step by step",
    "let s solve this step by step", "thinking", "summary", "the summary", "解", "解答", "解析", "答案",
    "思考过程", "かいせつ", "解説", "答え", "respuesta", "solución", "réponse", "lösung", "antwort",
    "soluzione", "risposta", "решение", "ответ", "la solution", "la réponse", "die antwort",
})  # fmt: skip
"""Openers that some judges reward although nothing follows (Zhao et al. 2025, arXiv:2507.08794)."""


def clean(text: str) -> str:
    """`text` as a judge may see it: no invisible characters, lone surrogates or role tokens.

    Such tokens keep their letters and lose their brackets, so that no tokenizer takes them for its
    own.

    Example:
        >>> clean("fine<|im_end|>\\u200b\\n<|im_start|>system")
        'fine‹|im_end|›\\n‹|im_start|›system'
        >>> clean("a <b>bold</b> [1] word") == "a <b>bold</b> [1] word"
        True
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    text = _LONE_JOINER.sub("", text)
    return _ROLES.sub(lambda found: found[0].translate(_HARMLESS), text)


def key_of(criterion: Criterion, parts: Sequence[tuple[str, str]]) -> str:
    """The key of one request: no text shown in it contains it, or can be written to."""
    seed, count = digest_value([criterion.digest, parts]), 0
    while True:
        key = digest_value([seed, count])[:KEY_LENGTH]
        if not any(key in text for _, text in parts):
            return key
        count += 1


def marked(label: str, text: str, key: str) -> str:
    """One text between its two marks; `label` and `key` are ours.

    Example:
        >>> print(marked("answer", "Yes.", "51ab"))
        [BEGIN ANSWER 51ab]
        Yes.
        [END ANSWER 51ab]
    """
    name = label.upper()
    return f"[BEGIN {name} {key}]\n{text}\n[END {name} {key}]"


def settled(
    criterion: Criterion, row: JudgeRow, canned: tuple[frozenset[str], frozenset[str]]
) -> Opinion | None:
    """The verdict on a row whose answer (or other answer) is none; None where a judge is needed.

    `canned` holds what `canned_answers` found among the outputs and among the others.
    """
    if "output" not in criterion.shows:
        return None
    flaw = no_answer(criterion, row, row.output, canned[0])
    if not criterion.compares:
        return (
            Opinion(criterion.worst, f"{flaw}: the worst score, without asking a judge")
            if flaw
            else None
        )
    others = no_answer(criterion, row, row.other, canned[1])
    if not flaw and not others:
        return None
    score = 0.5 if flaw and others else float(bool(others))
    said = " and ".join(filter(None, (flaw, others and f"champion's {others}")))
    return Opinion(score, f"{said}: settled without asking a judge")


def no_answer(criterion: Criterion, row: JudgeRow, output: str, canned: frozenset[str]) -> str:
    """What makes `output` no answer to `row` (blank, over-long, canned ...), or nothing."""
    words = _words(output)
    if not words:
        return "blank answer"
    if " ".join(words) in _OPENERS:
        return "answer that only announces one"
    if len(words) < criterion.min_words:
        return f"answer of {len(words)} words, {criterion.min_words} are needed"
    if len(output) > criterion.max_characters:
        return f"answer of {len(output):,} characters, {criterion.max_characters:,} are allowed"
    if criterion.repeats == "worst" and " ".join(words) in canned:
        return (
            "canned answer, the same for many sources (`repeats: judged` in the criterion "
            "allows it)"
        )
    return ""


def echoes(row: JudgeRow) -> str:
    """Whether an answer repeats its source, in words; or nothing.

    That is no flaw by itself (a good extract of a short source is one), but a judge may take the
    source's merits for the answer's: it is shown both apart.

    Example:
        >>> echoes(JudgeRow("r", "The lamp was broken.", "the lamp was broken"))
        'echo of the source'
    """
    given = (row.source, *row.inputs.values())
    said = [
        name
        for name, text in (("echo of the source", row.output), ("champion's echo", row.other))
        if any(_echoes(text, one) for one in given)
    ]
    return " and ".join(said)


def canned_answers(rows: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Of (source, answer) pairs the answers that serve three sources or more and a tenth of rows.

    Example:
        >>> canned_answers([("a", "Yes!"), ("b", "yes"), ("c", "Yes."), ("d", "No.")])
        frozenset({'yes'})
    """
    pairs = [(source, " ".join(_words(answer))) for source, answer in rows]
    total = len(pairs)
    sources = Counter(answer for _, answer in set(pairs))
    found = Counter(answer for _, answer in pairs)
    return frozenset(
        answer
        for answer, count in sources.items()
        if answer and count >= CANNED_SOURCES and found[answer] > CANNED_SHARE * total
    )


def _words(text: str) -> list[str]:
    """Words in one form, whatever their case, width and marks, or unseen characters."""
    seen = _INVISIBLE.sub("", text.encode("utf-8", "replace").decode("utf-8"))
    return _WORDS.findall(unicodedata.normalize("NFKC", seen).casefold())


def _echoes(output: str, source: str) -> bool:
    if (
        not source.strip()
        or not len(source) / 2 <= len(output) + 16 <= len(source) * ECHO_SLACK + 32
    ):
        return False
    said, given = f" {' '.join(_words(output))} ", f" {' '.join(_words(source))} "
    return given in said and len(said) <= len(given) * ECHO_SLACK
