"""A judge behind an OpenAI-compatible address on this machine: answers by a function and counts
what it was asked.

Where the function returns None the server fails (500).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[Sequence[dict[str, str]]], str | None]


@dataclass
class Judge:
    """Where the judge is, and the messages of every request so far."""

    url: str
    asked: list[list[dict[str, str]]] = field(default_factory=list)


def score(messages: Sequence[dict[str, str]]) -> str:
    """A score from 1 to 5 that depends on the text alone, with a reason; of two answers neither is
    better."""
    text = messages[-1]["content"]
    if "[BEGIN SECOND ANSWER" in text:
        return json.dumps({"reason": "Neither is clearer.", "better": "equal"})
    return json.dumps({"reason": f"It has {len(text)} characters.", "score": 1 + len(text) % 5})


@contextmanager
def judge_server(answer: Answer = score) -> Iterator[Judge]:
    """Serve until the block ends."""
    judge = Judge("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            judge.asked.append(body["messages"])
            text = answer(body["messages"])
            if text is None:
                self.send_error(500)
                return
            words = sum(len(message["content"].split()) for message in body["messages"])
            reply = {
                "id": "x",
                "object": "chat.completion",
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": text},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": words, "completion_tokens": len(text.split())},
            }
            data = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            return None

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


CRITERION = """
name: {name}
form: {form}
judges: [fake]
{scale}
criterion: How clear the answer is. 5 is clear, 1 is not.
repeats: judged
max_characters: 20000
"""


def criterion(name: str, form: str = "direct") -> str:
    """The YAML of a criterion that the model `fake` judges by."""
    return CRITERION.format(
        name=name, form=form, scale="" if form == "pairwise" else "scale: [1, 5]"
    )


def model(url: str) -> str:
    """The YAML of that model, to go below `models:`."""
    return (
        f"\n  fake:\n    endpoint: {{url: '{url}', model: fake, allow_private: true, tries: 1, "
        "timeout: 10}\n"
    )
