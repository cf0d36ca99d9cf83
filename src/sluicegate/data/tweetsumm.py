"""TWEETSUMM (Feigenblat et al., 2021): customer-support dialogues with human summaries.

It comes in two formats:
* joined: {"conversation_id", "turns": [{"role", "text"}], "summaries": [...]}
* official (github.com/guyfe/Tweetsumm, final_*_tweetsum.jsonl): tweet ids and sentence offsets
  only; the texts come from Kaggle's "Customer Support on Twitter" file, given as option `twcs`.

Options: `twcs` (path), `limit` (so many rows, chosen by a stable hash of the id), `skip_incomplete`
(leave out and count conversations without a summary or with a tweet that `twcs` lacks; otherwise
they are errors). Turns without text (the tweet was only a mention or a link) are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.data.lines import Faults, json_lines
from sluicegate.data.splitting import position
from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import digest_file, digest_value

Tweets = Mapping[str, tuple[bool, str]]  # tweet id -> (written by the customer, text)


class _IncompleteError(DataError):
    """A conversation that the two files together cannot complete."""


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a TWEETSUMM file in either format. `fields` may rename: {inputs: {conversation: turns}}.

    Raises:
        DataError: missing, malformed or incomplete; the message names file, line and field.
        ConfigError: an option or the `fields` of the source are wrong, or `twcs` is needed and
            absent.
    """
    options = rows.check_options(name, spec, ("twcs", "limit", "skip_incomplete"))
    limit = options.get("limit", 0)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise ConfigError(
            f"registry/sources.yaml: {name}.options.limit: a whole number was expected."
        )
    fields = rows.fields_of(name, spec.model_copy(update={"fields": _fields(spec)}))
    files = rows.source_files(name, spec, root, ".jsonl")
    parts = [(path, rows.read_bytes(path)) for path in files]
    faults = Faults()
    records = [
        (f"{path}, line {number}", record)
        for path, data in parts
        for number, record in json_lines(path, data, faults)
    ]
    digest = rows.digest_parts(parts)
    tweets: Tweets = {}
    if any("tweet_ids_sentence_offset" in record for _, record in records):
        twcs = _twcs_path(name, options, root)
        tweets = _read_tweets(twcs, _tweet_ids(records))
        digest = digest_value({"annotations": digest, "twcs": digest_file(twcs)})
        files = [*files, twcs]
    whole, skipped = _whole(records, tweets, faults, skip=bool(options.get("skip_incomplete")))
    examples = rows.make_examples(name, fields, whole, faults)
    if limit:
        examples = sorted(examples, key=lambda row: (position(row.id, "tweetsumm limit"), row.id))[
            :limit
        ]
    return rows.SourceRows(examples, digest, tuple(files), skipped)


def _fields(spec: SourceSpec) -> dict[str, Any]:
    defaults = {
        "id": "conversation_id",
        "group": "conversation_id",
        "inputs": {"conversation": "turns"},
        "reference": "summaries",
    }
    return {**defaults, **spec.fields}


def _whole(
    records: list[tuple[str, dict[str, Any]]], tweets: Tweets, faults: Faults, *, skip: bool
) -> tuple[list[rows.Raw], int]:
    """The conversations with their texts, and how many were skipped."""
    found: list[rows.Raw] = []
    skipped = 0
    for where, record in records:
        with faults.collected():
            try:
                found.append((where, where, _complete(record, tweets, where)))
            except _IncompleteError:
                if not skip:
                    raise
                skipped += 1
    return found, skipped


def _complete(record: dict[str, Any], tweets: Tweets, where: str) -> dict[str, Any]:
    official = "tweet_ids_sentence_offset" in record
    joined = _join(record, tweets, where) if official else _without_empty(record)
    if not joined.get("summaries"):
        raise _IncompleteError(
            f"{where}: field summaries: no summary.",
            hint="Set options: {skip_incomplete: true} to leave such rows out.",
        )
    return joined


def _join(record: Mapping[str, Any], tweets: Tweets, where: str) -> dict[str, Any]:
    turns = []
    try:
        for entry in record["tweet_ids_sentence_offset"]:
            tweet_id = str(entry["tweet_id"])
            if tweet_id not in tweets:
                raise _IncompleteError(
                    f"{where}: tweet {tweet_id} is not in twcs.csv.",
                    hint="Use the full Kaggle file, or options: {skip_incomplete: true}.",
                )
            inbound, text = tweets[tweet_id]
            sentences = [
                text[slice(*_offsets(offset))].strip() for offset in entry["sentence_offsets"]
            ]
            turns.append(
                {
                    "role": "customer" if inbound else "agent",
                    "text": " ".join(filter(None, sentences)),
                }
            )
        summaries = [
            " ".join(item["abstractive"])
            for item in record["annotations"]
            if item.get("abstractive")
        ]
        conversation = record["conversation_id"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{where}: not a row of the official release: {type(error).__name__}: {error}"
        ) from error
    return _without_empty({"conversation_id": conversation, "turns": turns, "summaries": summaries})


def _without_empty(record: Mapping[str, Any]) -> dict[str, Any]:
    turns = record.get("turns")
    if not isinstance(turns, list):
        return dict(record)
    return {**record, "turns": [turn for turn in turns if not _blank(turn)]}


def _blank(turn: Any) -> bool:
    text = turn.get("text") if isinstance(turn, dict) else None
    return isinstance(text, str) and not text.strip()


def _offsets(text: str) -> tuple[int, int]:
    start, end = text.strip("[] ").split(",")
    return int(start), int(end)


def _tweet_ids(records: list[tuple[str, dict[str, Any]]]) -> set[str]:
    wanted: set[str] = set()
    for where, record in records:
        entries = record.get("tweet_ids_sentence_offset", [])
        if not isinstance(entries, list) or not all(
            isinstance(e, dict) and "tweet_id" in e for e in entries
        ):
            raise DataError(
                f"{where}: field tweet_ids_sentence_offset: "
                "a list of objects with tweet_id was expected."
            )
        wanted.update(str(entry["tweet_id"]) for entry in entries)
    return wanted


def _twcs_path(name: str, options: Mapping[str, Any], root: Path) -> Path:
    hint = (
        "Get it from Kaggle (thoughtvector/customer-support-on-twitter); "
        "options: {twcs: data/raw/twcs.csv}"
    )
    if not options.get("twcs"):
        raise ConfigError(
            f"source {name}: the official release has tweet ids only, so the option twcs is "
            "needed.",
            hint=hint,
        )
    path = root / str(options["twcs"])
    if not path.is_file():
        raise DataError(f"source {name}: {path} is missing.", hint=hint)
    return path


def _read_tweets(path: Path, wanted: set[str]) -> Tweets:
    tweets: dict[str, tuple[bool, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if not {"tweet_id", "inbound", "text"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"{path}, line 1: columns tweet_id, inbound and text were expected."
                )
            for record in reader:
                if record["tweet_id"] in wanted:
                    tweets[record["tweet_id"]] = (
                        str(record["inbound"]).upper() == "TRUE",
                        record["text"] or "",
                    )
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid CSV in UTF-8: {error}") from error
    return tweets
