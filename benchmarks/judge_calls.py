"""Judge calls to a local endpoint that takes 50 ms: ours beside bare concurrent httpx, TruLens and
MLflow, one run.

Bare httpx is the ceiling, by asyncio or by threads, whichever is faster: the same requests at the
same concurrency, no check, no cache, no limit, nothing read but the text. TruLens' BatchEvaluator
runs its own `relevance` through a provider that makes the same call (its pace of 60 calls a minute
raised out of the way). These take turns, and of each the best round counts. (A busy machine gives
sixteen threads more of its time than one: compare on an idle one.) MLflow's `genai.evaluate` with a
scorer that makes the call, and traces and stores what it found as it always does, comes last and
with fewer calls. Each has as many threads as there are requests in the air here; the endpoint is a
process of its own.

    python benchmarks/judge_calls.py --calls 600
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from pathlib import Path

import httpx

ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "2"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
    }
).encode()
CRITERION = (
    "You judge how well a summary covers a conversation between a customer and an agent. " * 15
)


class Endpoint(asyncio.Protocol):
    """Answers each request after a while; as little work as a server can do."""

    seconds = 0.05

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            asyncio.get_running_loop().call_later(self.seconds, self.send)

    def send(self) -> None:
        """One good answer."""
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            % len(ANSWER)
        )
        self.transport.write(head + ANSWER)  # type: ignore[attr-defined]  # it is a write transport


def serve(ports: Queue[int], seconds: float) -> None:
    """Body of the endpoint's process."""

    async def main() -> None:
        Endpoint.seconds = seconds
        server = await asyncio.get_running_loop().create_server(
            Endpoint, "127.0.0.1", 0, backlog=1024
        )
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def prompts(count: int) -> list[str]:
    """Different answers to judge, 200 words each."""
    summary = "The customer asks for a refund of a late order. " * 20
    return [f"{CRITERION}\nSummary {number}: {summary}" for number in range(count)]


def payload(prompt: str) -> dict[str, object]:
    """The request that all make."""
    messages = [{"role": "user", "content": prompt}]
    return {
        "model": "judge",
        "messages": messages,
        "max_tokens": 256,
        "temperature": 0.0,
        "seed": 0,
    }


def with_asyncio(url: str, asked: list[str], concurrency: int) -> None:
    """httpx.AsyncClient and a semaphore."""

    async def main() -> list[str]:
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        room = asyncio.Semaphore(concurrency)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:

            async def one(prompt: str) -> str:
                async with room:
                    answer = await client.post(f"{url}/chat/completions", json=payload(prompt))
                answer.raise_for_status()
                return str(answer.json()["choices"][0]["message"]["content"])

            return await asyncio.gather(*map(one, asked))

    assert asyncio.run(main()) == ["2"] * len(asked)


def with_threads(url: str, asked: list[str], concurrency: int) -> None:
    """httpx.Client and a pool of threads."""
    with ThreadPoolExecutor(concurrency) as pool:
        assert list(pool.map(caller(url, concurrency), asked)) == ["2"] * len(asked)


def ours(url: str, asked: list[str], concurrency: int) -> None:
    """A hosted model with an empty cache."""
    from sluicegate.config import EndpointSpec, ModelSpec
    from sluicegate.generating import Reply, Request
    from sluicegate.models import open_model

    spec = ModelSpec(
        endpoint=EndpointSpec(url=url, model="judge", allow_private=True, concurrency=concurrency)
    )
    questions = [Request(({"role": "user", "content": prompt},)) for prompt in asked]
    with tempfile.TemporaryDirectory() as folder:
        answers = open_model(spec, "judge", root=Path(), cache=Path(folder)).generate(questions)
    assert [answer.text for answer in answers if isinstance(answer, Reply)] == ["2"] * len(asked)


def caller(url: str, concurrency: int) -> Callable[[str], str]:
    """One synchronous call, for peers that bring their own threads."""
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    client = httpx.Client(limits=limits, timeout=60)

    def call(prompt: str) -> str:
        answer = client.post(f"{url}/chat/completions", json=payload(prompt))
        return str(answer.raise_for_status().json()["choices"][0]["message"]["content"])

    return call


def trulens(url: str, concurrency: int) -> Callable[[list[str]], None]:
    """BatchEvaluator over a provider of the same call."""
    os.environ["TRULENS_OTEL_TRACING"] = "0"
    from trulens.core.batch import BatchEvaluator
    from trulens.core.feedback.endpoint import Endpoint as Pace
    from trulens.core.feedback.selector import Selector
    from trulens.core.metric.metric import Metric
    from trulens.feedback.llm_provider import LLMProvider

    call = caller(url, concurrency)

    class Provider(LLMProvider):
        def __init__(self) -> None:
            super().__init__(model_engine="judge", endpoint=Pace(name="judge", rpm=10_000_000))

        def _create_chat_completion(self, prompt=None, messages=None, response_format=None, **rest):  # type: ignore[no-untyped-def]
            return call(prompt or "\n".join(one["content"] for one in messages))

    selectors = {
        "prompt": Selector.from_column("prompt"),
        "response": Selector.from_column("response"),
    }
    metric = Metric(implementation=Provider().relevance, selectors=selectors, name="relevance")
    evaluator = BatchEvaluator([metric], max_workers=concurrency)

    def run(asked: list[str]) -> None:
        table = evaluator.evaluate([{"prompt": one, "response": "a refund"} for one in asked])
        assert table["relevance"].notna().all()

    return run


def mlflow(url: str, concurrency: int, folder: str) -> Callable[[list[str]], None]:
    """`genai.evaluate` with one scorer of the same call, into a fresh SQLite store."""
    os.environ |= {
        "MLFLOW_GENAI_EVAL_MAX_WORKERS": str(concurrency),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_GENAI_EVAL_SKIP_TRACE_VALIDATION": "true",
        # with its own pool threads wait for each other
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
        "DO_NOT_TRACK": "true",
    }
    import mlflow.genai

    call = caller(url, concurrency)

    @mlflow.genai.scorer
    def relevance(inputs, outputs):  # type: ignore[no-untyped-def]  # MLflow reads the names
        return int(call(inputs["prompt"]))

    mlflow.set_experiment("judge-calls")
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        mlflow.genai.evaluate(
            data=[{"inputs": {"prompt": "warm"}, "outputs": "x"}], scorers=[relevance]
        )

    def run(asked: list[str]) -> None:
        rows = [{"inputs": {"prompt": one}, "outputs": "a refund"} for one in asked]
        result = mlflow.genai.evaluate(data=rows, scorers=[relevance])
        assert result.metrics["relevance/mean"] == 2

    return run


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds, with nothing printed."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        started, used = time.perf_counter(), time.process_time()
        run()
        return time.perf_counter() - started, time.process_time() - used


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument(
        "--seconds", type=float, default=0.05, help="what the endpoint takes for an answer"
    )
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=6, help="how often they take turns")
    parser.add_argument("--mlflow-calls", type=int, default=100)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    ports: Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(ports, asked.seconds), daemon=True)
    server.start()
    url, many = f"http://127.0.0.1:{ports.get()}/v1", asked.concurrency
    runs: dict[str, Callable[[list[str]], None]] = {
        "httpx, asyncio": lambda texts: with_asyncio(url, texts, many),
        "httpx, threads": lambda texts: with_threads(url, texts, many),
        "sluicegate": lambda texts: ours(url, texts, many),
    }
    if asked.peers:
        runs["TruLens BatchEvaluator"] = trulens(url, many)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for run in runs.values():
        timed(lambda run=run: run(prompts(many)))  # type: ignore[misc]  # all warm
    for number in range(asked.rounds):
        for name in sorted(runs, reverse=bool(number % 2)):
            spent[name].append(timed(lambda name=name: runs[name](prompts(asked.calls))))  # type: ignore[misc]
    rates = {name: asked.calls / min(wall for wall, _ in times) for name, times in spent.items()}
    used = {name: min(cpu for _, cpu in times) / asked.calls for name, times in spent.items()}
    if asked.peers:
        with tempfile.TemporaryDirectory() as folder:
            run = mlflow(url, many, folder)
            wall, cpu = timed(lambda: run(prompts(asked.mlflow_calls)))
        rates["MLflow genai.evaluate"], used["MLflow genai.evaluate"] = (
            asked.mlflow_calls / wall,
            cpu / asked.mlflow_calls,
        )
    server.terminate()
    ceiling = max(rates["httpx, asyncio"], rates["httpx, threads"])
    print(
        f"{asked.calls} calls of {asked.seconds * 1000:g} ms, {many} at once: "
        f"{many / asked.seconds:.0f} calls/s at best"
    )
    for name, rate in rates.items():
        share = (
            f"{rate / ceiling:7.1%} of bare httpx, {used[name] * 1000:6.2f} ms of processor a call"
        )
        print(
            f"{name:24} {rate:7.1f} calls/s {share}  "
            f"{', '.join(f'{wall:.2f}' for wall, _ in spent.get(name, []))}"
        )


if __name__ == "__main__":
    main()
