"""The demo behind `sluice demo-model`, asked by OpenAI's own client, and by ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from sluicegate.config import ModelSpec
from sluicegate.generating import Reply, Request
from sluicegate.local_services.demo_model import answer
from sluicegate.models import open_model

LABELS = "Classify the ticket. Label: one of billing, delivery, account or other."
TICKETS = {
    "I was charged twice on my card.": "billing",
    "My parcel has not arrived, what does tracking say?": "delivery",
    "I cannot log in, the password is refused.": "account",
    "Do you sell umbrellas?": "other",
}
CONTEXTS = """Answer from the contexts. If they do not say, answer that you do not know.
Contexts:
[1] Returns are free within 14 days. The label is in the parcel.
[2] Gift cards are valid for three years.

"""


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """The command itself, on a free port."""
    command = [sys.executable, "-m", "sluicegate", "demo-model", "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "a demo without a model" in process.stdout.readline()
    return process, process.stdout.readline().split()[-1]


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 130)
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process, found = start()
    yield found
    stop(process)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, text: str, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="any-name", messages=messages, **more)


def said(text: str, **more: Any) -> str:
    return str(answer({"messages": [{"role": "user", "content": text}]}, **more)["content"])


def test_every_reply_says_that_it_is_a_demo(client: openai.OpenAI) -> None:
    """Whatever name is asked for, the reply and the fingerprint say demo; tokens are counted."""
    made = ask(client, "Hello")
    assert made.model == "sluice-demo"
    assert made.system_fingerprint.startswith("demo_")
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens > 1


@pytest.mark.parametrize("ticket", TICKETS)
def test_tickets_get_the_labels_of_the_prompt(client: openai.OpenAI, ticket: str) -> None:
    """The label that fits, one of those that the prompt lists, in the form that it asks for."""
    label = TICKETS[ticket]
    form = f'{LABELS}\nAnswer with JSON only: {{"label": ..., "urgent": one of true or false}}'
    made = ask(client, f"{form}\nTicket: {ticket}").choices[0].message.content
    assert json.loads(made) == {"label": label, "urgent": False}
    system = [{"role": "system", "content": f"{LABELS} Answer with the label only."}]
    messages: Any = [*system, {"role": "user", "content": ticket}]
    reply = client.chat.completions.create(model="x", messages=messages)
    assert reply.choices[0].message.content == label


def test_a_worse_prompt_gets_worse_answers() -> None:
    """No JSON unless asked for, a fence unless told `only`, no label that was not listed."""
    ticket = "\nTicket: I was charged twice on my card, please answer today!"
    assert "billing" not in said("Classify the ticket." + ticket)
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(said(LABELS + ticket))
    assert said(LABELS + " Answer with JSON." + ticket).startswith("Here is the JSON:\n```json")
    listed = "Give the label only. Classify:\n- credit: money, twice, card\n- other\n"
    assert said(listed + ticket) == "credit"
    urgent = 'Answer with JSON only: {"urgent": one of true or false}'
    assert json.loads(said(urgent + ticket)) == {"urgent": True}


def test_questions_are_answered_from_the_contexts(client: openai.OpenAI) -> None:
    """The sentence that answers, its source where asked for; told to be brief it forgets them."""
    asked = CONTEXTS + "Question: How many days are returns free?"
    made = ask(client, asked).choices[0].message.content
    assert made == "Returns are free within 14 days."
    assert said("Cite your source. " + asked).endswith("[1]")
    assert said(CONTEXTS + "Question: Who founded the company?") == "I do not know."
    assert "14 days" not in said("Be brief. " + asked)


def test_a_chain_of_two_steps_with_a_tool(client: openai.OpenAI) -> None:
    """The tool that fits is called with what the text holds; then its result is told."""
    parameters = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    tools: Any = [
        {
            "type": "function",
            "function": {"name": name, "description": text, "parameters": parameters},
        }
        for name, text in (("find_order", "Where an order is."), ("pay", "Pay an invoice."))
    ]
    messages: Any = [{"role": "user", "content": "Where is my order PQ-88213?"}]
    first = client.chat.completions.create(model="x", messages=messages, tools=tools).choices[0]
    assert first.finish_reason == "tool_calls"
    called = first.message.tool_calls[0]
    assert called.function.name == "find_order"
    assert json.loads(called.function.arguments) == {"order_id": "PQ-88213"}
    result = {"role": "tool", "tool_call_id": called.id, "content": '{"status": "shipped"}'}
    messages += [first.message.model_dump(exclude_none=True), result]
    last = client.chat.completions.create(model="x", messages=messages, tools=tools).choices[0]
    assert "status: shipped" in last.message.content


def test_a_schema_is_kept(client: openai.OpenAI) -> None:
    """`response_format` gives its keys and its labels, whatever the prompt says."""
    schema = {
        "properties": {"kind": {"enum": ["billing", "delivery"]}, "order": {"type": "string"}}
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    made = ask(client, "Look at this.\nTicket: parcel A-123 is late", response_format=form)
    assert json.loads(made.choices[0].message.content)["kind"] == "delivery"


def test_noise_is_a_share_of_answers_by_seed() -> None:
    """Flips spoil about their share, always the same ones; none where none are wanted."""
    bodies = [
        {
            "messages": [{"role": "user", "content": f"{LABELS} Label only.\nTicket: charged"}],
            "seed": n,
        }
        for n in range(400)
    ]
    made = [answer(body, flips=0.1)["content"] for body in bodies]
    assert made == [answer(body, flips=0.1)["content"] for body in bodies]
    assert 20 <= 400 - made.count("billing") <= 60
    assert {answer(body)["content"] for body in bodies} == {"billing"}


def test_limits_and_wrong_requests(client: openai.OpenAI) -> None:
    """Answers are cut where asked; what cannot be read is an error in OpenAI's form."""
    text = "Summarize.\nText: " + "A long sentence without an end " * 10
    cut = ask(client, text, max_tokens=5).choices[0]
    assert (cut.finish_reason, len(cut.message.content)) == ("length", 20)
    assert "without" not in ask(client, text, stop=["without"]).choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="does not stream"):
        ask(client, text, stream=True)
    with pytest.raises(openai.BadRequestError, match="demo cannot read"):
        client.chat.completions.create(model="x", messages=[])


def test_our_own_client_is_answered(url: str) -> None:
    """An entry of models.yaml with its address works as for any endpoint."""
    endpoint = {"url": url, "model": "sluice-demo", "allow_private": True}
    model = open_model(ModelSpec.model_validate({"endpoint": endpoint}), "demo", root=Path())
    reply = model.generate([Request(({"role": "user", "content": "Say hello."},))])[0]
    assert isinstance(reply, Reply)
    assert reply.text


def test_it_ends_with_its_parent() -> None:
    """A server whose parent is gone does not stay; latency and the taken port are told."""
    command = f"{sys.executable} -m sluicegate demo-model --port 0 --latency 50ms & sleep 60"
    parent = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    found = parent.stdout.readline().split()[-1]
    with openai.OpenAI(base_url=found, api_key="none", max_retries=0) as client:
        began = time.monotonic()
        ask(client, "Hello")
        assert time.monotonic() - began >= 0.05
        port = re.findall(r"\d+", found)[-2]
        again = [sys.executable, "-m", "sluicegate", "demo-model", "--port", port]
        taken = subprocess.run(again, capture_output=True, text=True, check=False)
        assert (taken.returncode, "Try --port 0" in taken.stderr) == (3, True)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        for _ in range(100):
            try:
                ask(client, "Hello")
            except openai.APIConnectionError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("it went on without its parent")
    parent.stdout.close()
