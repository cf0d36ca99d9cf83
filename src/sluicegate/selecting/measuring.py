"""Response times of a model, one request at a time: prompt and answer apart."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from sluicegate.generating import Messages, Model, Reply, all_replies, request_of
from sluicegate.records import GenerationSettings
from sluicegate.selecting.options import Timing

LENGTHS = (0.1, 0.5, 0.9)
"""Prompts of the golden set at these quantiles of length are timed."""


def timed(
    model: Model,
    prompts: Sequence[Messages],
    settings: GenerationSettings,
    *,
    new_tokens: int,
    repeats: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Timing], float | None]:
    """Time short, middling and long prompts, each for one token and for up to `new_tokens`.

    A request is made once before anything is timed, so that loading counts nowhere. Every request
    has a seed of its own, so that no cache has seen it, here or at an endpoint.

    Args:
        prompts: at least one.
        repeats: requests per length of prompt and answer, at least 2.
        progress: called with requests done and in all.

    Returns:
        timings, and the median of the seconds that each token after the first took, None where
        there was none.

    Raises:
        EnvironmentFailure, DataError: a request got no answer.
    """
    seeds = count(settings.seed + 1)

    def request(prompt: Messages, tokens: int) -> tuple[float, Reply]:
        return _request(model, prompt, replace(settings, max_new_tokens=tokens, seed=next(seeds)))

    ordered = sorted(
        prompts, key=lambda messages: sum(len(message["content"]) for message in messages)
    )
    request(ordered[0], 1)
    found: list[Timing] = []
    steps: list[float] = []
    done, total = 0, len(LENGTHS) * repeats * 2
    for share in LENGTHS:
        middle = round(share * (len(ordered) - 1))
        near = ordered[max(0, middle - repeats // 2) :][:repeats]
        first: list[tuple[float, Reply]] = []
        whole: list[tuple[float, Reply]] = []
        for number in range(repeats):
            prompt = near[number % len(near)]
            first.append(request(prompt, 1))
            whole.append(request(prompt, new_tokens))
            done += 2
            if progress:
                progress(done, total)
        found += [_timing(first), _timing(whole)]
        steps += [
            (long - short) / (answer.completion_tokens - 1)
            for (short, _), (long, answer) in zip(first, whole, strict=True)
            if answer.completion_tokens > 1
        ]
    return found, max(0.0, statistics.median(steps)) if steps else None


def throughput(model: Model, prompts: Sequence[Messages], settings: GenerationSettings) -> float:
    """New tokens a second while all `prompts` are asked at once; 0.0 where nothing was answered.

    Raises:
        EnvironmentFailure, DataError: a request got no answer.
    """
    start = time.perf_counter()
    answers = _asked(model, prompts, settings)
    seconds = time.perf_counter() - start
    return sum(answer.completion_tokens for answer in answers) / seconds if seconds > 0 else 0.0


def quantiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p95 by linear interpolation; (0.0, 0.0) for an empty sequence.

    Example:
        >>> quantiles([1.0, 2.0, 3.0])
        (2.0, 2.9)
    """
    if not len(seconds):
        return 0.0, 0.0
    low, high = np.quantile(np.asarray(seconds, np.float64), [0.5, 0.95])
    return round(float(low), 6), round(float(high), 6)


def _request(model: Model, prompt: Messages, settings: GenerationSettings) -> tuple[float, Reply]:
    start = time.perf_counter()
    (answer,) = _asked(model, [prompt], settings)
    return time.perf_counter() - start, answer


def _asked(model: Model, prompts: Sequence[Messages], settings: GenerationSettings) -> list[Reply]:
    requests = [request_of(messages, settings) for messages in prompts]
    return all_replies(model.generate(requests), "measuring")


def _timing(requests: Sequence[tuple[float, Reply]]) -> Timing:
    p50, p95 = quantiles([seconds for seconds, _ in requests])
    return Timing(
        prompt_tokens=round(statistics.mean(answer.prompt_tokens for _, answer in requests)),
        answer_tokens=round(statistics.mean(answer.completion_tokens for _, answer in requests)),
        p50=p50,
        p95=p95,
        n=len(requests),
    )
