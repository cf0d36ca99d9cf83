"""The engine: batching changes nothing but the time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from sluicegate.config import ModelSpec
from sluicegate.engines import open_engine
from sluicegate.engines.batching import BatchingEngine
from sluicegate.engines.loading import choose_dtype, encode_chat, load_model, load_tokenizer
from sluicegate.engines.slots import shared_start
from sluicegate.errors import ConfigError, DataError, ModelError
from sluicegate.generating import Reply, Request, all_replies, request_of
from sluicegate.models import LoadedBase, Messages, WeightsModel, resolve_base
from sluicegate.models.scripted import ScriptedModel, last_line
from sluicegate.records import GenerationSettings
from tiny_model import build_tiny_model

WORDS = [
    "parcel",
    "order",
    "refund",
    "late",
    "agent",
    "customer",
    "please",
    "check",
    "number",
    "hours",
    "sorry",
    "delivered",
]


def chat(length: int, start: int = 0) -> Messages:
    """A prompt of `length` words."""
    return [
        {
            "role": "user",
            "content": " ".join(WORDS[(start + i * i) % len(WORDS)] for i in range(length)),
        }
    ]


PROMPTS = [
    chat(length, start) for start, length in enumerate([3, 60, 12, 1, 33, 90, 7, 25, 2, 48, 14, 5])
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedBase:
    folder = build_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
    return resolve_base(
        ModelSpec(path=str(folder), context=512), "tiny", tmp_path_factory.mktemp("cache")
    )


def opened(base: LoadedBase, batch_tokens: int) -> WeightsModel:
    return WeightsModel(base, dtype="float32", batch_tokens=batch_tokens)


def engine(model: WeightsModel) -> BatchingEngine:
    """What `model` runs in."""
    assert isinstance(model.engine, BatchingEngine)
    return model.engine


def ask(
    model: WeightsModel, prompts: Sequence[Messages], settings: GenerationSettings
) -> list[Reply]:
    """The replies to `prompts`, every one."""
    return all_replies(model.generate([request_of(one, settings) for one in prompts]), "test")


@pytest.fixture(scope="module")
def one_by_one(base: LoadedBase) -> list[str]:
    """Greedy answers of transformers' own `generate`, one prompt at a time."""
    model, tokenizer = load_model(base.path, "float32"), load_tokenizer(base.path)
    texts = []
    for messages in PROMPTS:
        ids = torch.tensor([encode_chat(tokenizer, messages)])
        with torch.inference_mode():
            out = model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
            )
        texts.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("batch_tokens", [1, 150, 700, 10_000])
def test_batched_greedy_equals_one_by_one(
    base: LoadedBase, one_by_one: list[str], batch_tokens: int
) -> None:
    """However many prompts share a batch, each greedy answer is the one generate gives alone, in
    the order asked.
    """
    backend = opened(base, batch_tokens)
    answers = ask(backend, PROMPTS, GenerationSettings(max_new_tokens=24))
    assert [answer.text for answer in answers] == one_by_one
    assert [answer.prompt_tokens for answer in answers] == [
        backend.count_tokens(messages) for messages in PROMPTS
    ]
    assert all(answer.seconds > 0 and 1 <= answer.completion_tokens <= 24 for answer in answers)
    assert all(0 < (answer.first_token or 0) <= answer.seconds for answer in answers)
    assert any((answer.first_token or 0) < answer.seconds for answer in answers)


SYSTEM = {
    "role": "system",
    "content": "You judge by one criterion: " + "the customer must get the parcel. " * 9,
}


def test_a_common_beginning_is_read_once(base: LoadedBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are those without sharing and those given alone; the common beginning goes through
    the model once a pool.
    """
    prompts: list[Messages] = [[SYSTEM, *messages] for messages in PROMPTS]
    backend = opened(base, 1200)
    read: list[int] = []
    engine(backend).model.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    settings = GenerationSettings(max_new_tokens=10)
    alone = [ask(backend, [messages], settings)[0] for messages in prompts]
    whole = sum(answer.prompt_tokens for answer in alone)
    common = shared_start(
        [encode_chat(engine(backend).tokenizer, messages) for messages in prompts]
    )
    assert len(common) > 60
    counts = {}
    for sharing in (8, 10**9):
        monkeypatch.setattr("sluicegate.engines.batching.SHARING", sharing)
        read.clear()
        answers = ask(backend, prompts, settings)
        assert [(one.text, one.prompt_tokens) for one in answers] == [
            (one.text, one.prompt_tokens) for one in alone
        ]
        made = sum(answer.completion_tokens for answer in answers)
        counts[sharing] = sum(read) - (made - len(prompts))
    assert counts[10**9] == whole
    pools = (counts[8] - whole) // len(common) + len(prompts)
    assert counts[8] == whole - len(common) * (len(prompts) - pools)
    assert 1 <= pools <= 3


def test_equal_prompts_share_all_but_a_token(base: LoadedBase) -> None:
    """Of equal prompts all but the last token is shared; sampled answers are those given alone."""
    backend = opened(base, 10_000)
    assert shared_start([[5, 6, 7]] * 3) == [5, 6]
    assert shared_start([[5, 6, 7], [6, 7]]) == []
    settings = GenerationSettings(max_new_tokens=10, temperature=0.8)
    (alone,) = ask(backend, PROMPTS[1:2], settings)
    assert [answer.text for answer in ask(backend, PROMPTS[1:2] * 5, settings)] == [alone.text] * 5


def test_answers_end_early_and_make_room(base: LoadedBase) -> None:
    """Rows that end at different steps leave the others' answers as they are."""
    backend = opened(base, 400)
    plain = ask(backend, PROMPTS, GenerationSettings(max_new_tokens=24))
    tokens = [
        engine(backend).tokenizer.encode(answer.text, add_special_tokens=False) for answer in plain
    ]
    engine(backend).ends |= {row[2 + index % 5] for index, row in enumerate(tokens) if len(row) > 8}
    batched = ask(backend, PROMPTS, GenerationSettings(max_new_tokens=24))
    alone = [
        ask(backend, [messages], GenerationSettings(max_new_tokens=24))[0] for messages in PROMPTS
    ]
    assert [(a.text, a.completion_tokens, a.finished) for a in batched] == [
        (a.text, a.completion_tokens, a.finished) for a in alone
    ]
    assert len({a.completion_tokens for a in batched}) > 2
    assert any(a.finished for a in batched)


def test_sampling_does_not_depend_on_the_batch(base: LoadedBase) -> None:
    """A sampled answer depends on seed and prompt only; another seed gives another answer."""
    settings = GenerationSettings(
        max_new_tokens=12, temperature=0.9, top_p=0.9, repetition_penalty=1.2, seed=3
    )
    backend = opened(base, 2000)
    together = [answer.text for answer in ask(backend, PROMPTS, settings)]
    backwards = [answer.text for answer in ask(backend, PROMPTS[::-1], settings)][::-1]
    other = [
        answer.text
        for answer in ask(
            backend, PROMPTS, GenerationSettings(max_new_tokens=12, temperature=0.9, seed=4)
        )
    ]
    assert together == backwards
    assert together != other


def test_repetition_penalty_equals_transformers(base: LoadedBase) -> None:
    """Greedy decoding with a repetition penalty gives the text that transformers gives."""
    backend = opened(base, 2000)
    ours = ask(backend, PROMPTS[:4], GenerationSettings(max_new_tokens=16, repetition_penalty=1.4))
    model, tokenizer = load_model(base.path, "float32"), load_tokenizer(base.path)
    for messages, answer in zip(PROMPTS, ours, strict=False):
        ids = torch.tensor([encode_chat(tokenizer, messages)])
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=16,
                do_sample=False,
                repetition_penalty=1.4,
            )
        assert (
            answer.text
            == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
        )


def test_unknown_families_run_one_by_one(base: LoadedBase, one_by_one: list[str]) -> None:
    """A model that cannot be planned still gives the same answers, through transformers' own
    cache.
    """
    model = load_model(base.path, "float32")
    model.config.sliding_window = 4096
    model.config.layer_types = ["sliding_attention"] * model.config.num_hidden_layers
    backend = opened(base, 1000)
    tokenizer = load_tokenizer(base.path)
    backend._opened = BatchingEngine(model, tokenizer, context=512, batch_tokens=1000)
    assert not engine(backend).planned
    answers = ask(backend, PROMPTS[:3], GenerationSettings(max_new_tokens=24))
    assert [answer.text for answer in answers] == one_by_one[:3]
    assert all(0 < (answer.first_token or 0) < answer.seconds for answer in answers)


def test_stop_strings_cut_the_answer(base: LoadedBase) -> None:
    """The answer ends before the first stop string and counts as finished."""
    backend = opened(base, 1000)
    whole = ask(backend, [PROMPTS[0]], GenerationSettings(max_new_tokens=24))[0]
    stop = whole.text[4:7]
    cut = ask(backend, [PROMPTS[0]], GenerationSettings(max_new_tokens=24, stop=(stop,)))[0]
    assert cut.text == whole.text.split(stop)[0].strip()
    assert cut.finished
    assert cut.completion_tokens < whole.completion_tokens


def test_told_once_and_empty(base: LoadedBase) -> None:
    """Every answer is told once; no prompt, no answer."""
    backend = opened(base, 600)
    seen: list[int] = []
    settings = GenerationSettings(max_new_tokens=4)
    requests = [request_of(one, settings) for one in PROMPTS[:5]]
    answers = backend.generate(requests, took=lambda place, answer: seen.append(place))
    assert sorted(seen) == list(range(5))
    assert all(isinstance(answer, Reply) for answer in answers)
    assert backend.generate([]) == []


def test_prompt_over_the_context_is_refused(base: LoadedBase) -> None:
    """A prompt that leaves no room for an answer is an error that names it, never cut."""
    backend = opened(base, 600)
    with pytest.raises(DataError, match="1 of 2 prompts got no answer: the prompt has"):
        ask(backend, [chat(3), chat(600)], GenerationSettings(max_new_tokens=4))


def test_answer_stops_at_the_context(base: LoadedBase) -> None:
    """Where the context ends before max_new_tokens, the answer ends there and is unfinished."""
    backend = opened(base, 600)
    messages = next(chat(n) for n in range(400, 1, -1) if backend.count_tokens(chat(n)) <= 505)
    answer = ask(backend, [messages], GenerationSettings(max_new_tokens=24))[0]
    assert answer.prompt_tokens + answer.completion_tokens <= 512


@pytest.mark.parametrize("name", ["nothing", "sluicegate.engines:absent", "no_such_module:x"])
def test_unknown_engine(base: LoadedBase, name: str) -> None:
    """An engine that is neither in the table nor importable is a configuration error."""
    with pytest.raises(ConfigError):
        open_engine(base.path, None, context=10, dtype="float32", name=name)


def test_damaged_weights_are_a_model_error(base: LoadedBase, tmp_path: Path) -> None:
    """Weights cut short give a typed error, not a traceback of a library."""
    for path in base.path.iterdir():
        (tmp_path / path.name).write_bytes(
            path.read_bytes()[: 1000 if path.suffix == ".safetensors" else None]
        )
    with pytest.raises(ModelError):
        load_model(tmp_path, "float32")


def test_a_script_is_cut_as_answers_are() -> None:
    """The fake answers from its script or repeats the last line, cut at the length limit and at
    stop strings.
    """
    script = {"hi": "hello there"}
    fake = ScriptedModel(lambda asked: script.get(asked.messages[0]["content"]) or last_line(asked))
    texts = ("hi", "a\nb c d", "")
    asked = [Request(({"role": "user", "content": text},), max_tokens=2) for text in texts]
    answers = all_replies(fake.generate([*asked, replace(asked[0], stop=("there",))]), "test")
    assert [(answer.text.strip(), answer.finished) for answer in answers] == [
        ("hello there", True),
        ("b c", False),
        ("", True),
        ("hello", True),
    ]


def test_dtype_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` writes its measurement into the model cache; exact work on a processor stays
    float32.
    """
    from sluicegate.engines import loading

    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path))
    loading.faster_dtype.cache_clear()
    chosen = choose_dtype("auto")
    assert chosen in ("float32", "bfloat16")
    assert len(list(tmp_path.rglob("dtype-*.json"))) == 1
    assert choose_dtype("bfloat16", exact=True) == "bfloat16"
    if not torch.cuda.is_available():
        assert choose_dtype("auto", exact=True) == "float32"
    loading.faster_dtype.cache_clear()
