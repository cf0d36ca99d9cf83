"""Rows that an application answers, against a bare client: 200 rows, 3 repeats, one call each.

    python benchmarks/applications.py

Both ask the same loopback server, which answers after 50 ms, with the same number of requests in
the air; the bare client is `openai.AsyncOpenAI` with a semaphore and nothing else.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import openai
from tests.chat_server import ChatServer, says

from sluicegate.applications import open_application
from sluicegate.applications.calls import Role
from sluicegate.applications.running import Row, answer_rows
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.models import open_model
from sluicegate.prompts import Prompt
from sluicegate.records import GenerationSettings

ROWS, REPEATS, SECONDS, CONCURRENCY, ROUNDS = 200, 3, 0.05, 16, 3
PROMPT = Prompt("classify", "", "Classify: {{ text }}", ("text",), "", "")
CODE = {
    "threads": """def answer(inputs, app):
    return app.model().ask(app.prompt("classify").render(text=inputs["text"])).text
""",
    "async": """async def answer(inputs, app):
    return (await app.model().ask_async(app.prompt("classify").render(text=inputs["text"]))).text
""",
}
TEXTS = [f"ticket {row} {repeat}" for repeat in range(REPEATS) for row in range(ROWS)]


async def bare(url: str) -> None:
    """Every question, as fast as the library goes."""
    room = asyncio.Semaphore(CONCURRENCY)
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(text: str) -> None:
            async with room:
                await client.chat.completions.create(
                    model="fake", messages=[{"role": "user", "content": f"Classify: {text}"}]
                )

        await asyncio.gather(*map(ask, TEXTS))


def ours(url: str, code: str) -> None:
    """The same through an application, with an empty cache; the start of its process included."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "app").mkdir()
        (root / "app" / "triage.py").write_text(code)
        spec = EndpointSpec(url=url, model="fake", allow_private=True, concurrency=CONCURRENCY)
        role = Role("fake", open_model(ModelSpec(endpoint=spec), "fake", root=root))
        application = open_application(
            "app.triage:answer", root, prompts={"classify": PROMPT}, models={"main": "fake"}
        )
        rows = [Row(str(place), {"text": text}) for place, text in enumerate(TEXTS)]
        answers = answer_rows(
            application, rows, {"main": role}, GenerationSettings(), cache=root / "cache"
        )
        assert not any(one.generation.failure for one in answers)


def timed(job: object, *given: str) -> float:
    """Median seconds of the rounds, the first not counted."""
    taken = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        job(*given)  # type: ignore[operator]
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    """Print seconds and what share of the bare client's rate is reached."""
    with ChatServer(says(lambda asked: "billing", SECONDS)) as server:
        alone = timed(lambda url: asyncio.run(bare(url)), server.url)
        print(f"bare client: {alone:.2f} s, {len(TEXTS) / alone:.0f} calls a second")
        for name, code in CODE.items():
            seconds = timed(ours, server.url, code)
            print(f"{name}: {seconds:.2f} s, {alone / seconds:.0%} of the bare client's rate")


if __name__ == "__main__":
    main()
