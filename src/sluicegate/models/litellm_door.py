"""The one door to LiteLLM (extra `litellm`): vendors with an interface of their own.

LiteLLM makes its own connections and tries, so addresses are not checked here; budget, rates and
reading are ours.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import openai
from pydantic import Field

from sluicegate.config import EndpointSpec
from sluicegate.errors import MissingExtraError
from sluicegate.generating import Failure
from sluicegate.hashing import digest_value
from sluicegate.models.hosted import Call, HostedModel, Outcome, Send
from sluicegate.models.openai_door import read_key, read_settings
from sluicegate.models.reading import Key, read_answer, read_refusal, refused_parameter

if TYPE_CHECKING:
    from sluicegate.models import Entry


class LiteLLMSpec(EndpointSpec):
    """As an endpoint; `model` is LiteLLM's name (`anthropic/claude-...`), `url` an address other
    than the vendor's.
    """

    url: Annotated[str, Field(pattern=r"^(https://[^\s@]+)?$")] = ""


class LiteLLMDoor:
    """See `hosted.Door`."""

    def __init__(self, spec: LiteLLMSpec, name: str) -> None:
        """Raises MissingExtraError: no LiteLLM; ConfigError: no key in the environment."""
        try:
            self._litellm = importlib.import_module("litellm")
        except ModuleNotFoundError as error:
            if error.name != "litellm":
                raise
            raise MissingExtraError("litellm", "litellm") from error
        self._spec, self._key = spec, read_key(spec, name)

    @property
    def identity(self) -> str:
        """See `hosted.Door.identity`."""
        return digest_value({"litellm": self._spec.url.rstrip("/"), "model": self._spec.model})

    @asynccontextmanager
    async def opened(self, connections: int) -> AsyncIterator[Send]:
        """See `hosted.Door.opened`; LiteLLM keeps its own connections."""
        del connections
        yield partial(_send, self._litellm, self._spec, self._key)


async def _send(
    litellm: Any, spec: LiteLLMSpec, key: Key, body: dict[str, Any], call: Call
) -> Outcome:
    """One request, all of LiteLLM's tries together."""
    await call.run.start(call.size)
    started, used, outcome = time.monotonic(), call.size, None
    options: dict[str, Any] = {"num_retries": spec.tries - 1, "timeout": spec.timeout}
    if spec.url:
        options["api_base"] = spec.url
    try:
        async with asyncio.timeout(spec.timeout * spec.tries):
            found = await litellm.acompletion(**body, **options, **_credentials(key))
        seconds = time.monotonic() - started
        answer = read_answer(found.model_dump_json().encode(), seconds, key, call.max_tokens)
        outcome = Outcome(answer)
    except (TimeoutError, openai.APITimeoutError):
        outcome = Outcome(Failure(f"no complete answer within {spec.timeout:g} s"), down=True)
    except openai.OpenAIError as error:  # LiteLLM's own are kinds of OpenAI's
        used, outcome = (0, 0), _refusal(error, key)
    finally:
        if outcome is None or isinstance(outcome.answer, Failure):
            call.run.end(call.size, used)
    return outcome


def _credentials(key: Key) -> dict[str, str]:
    """Without `key_env` LiteLLM reads the vendor's own variables."""
    return {"api_key": key.text} if key.text else {}


def _refusal(error: Any, key: Key) -> Outcome:
    status = int(getattr(error, "status_code", 0) or 0)
    names = ("message", "code", "param", "type")
    told = {name: str(getattr(error, name, None) or "") for name in names}
    if not status:
        return Outcome(Failure(f"no connection: {key.out_of(told['message'])}"), down=True)
    return Outcome(
        read_refusal(status, told, key),
        down=status not in (400, 413, 422),
        refused=refused_parameter(status, told),
    )


def open_litellm(entry: Entry) -> HostedModel:
    """Row of `MODELS`: `litellm: {model: vendor/name, key_env: ..., ...}`.

    Raises:
        ConfigError: a setting is wrong or missing, or there is no key in the environment.
        MissingExtraError: LiteLLM is not installed; the hint is the line that installs it.
    """
    spec = read_settings(entry, LiteLLMSpec)
    door = LiteLLMDoor(spec, entry.name)
    return HostedModel(door, spec, entry.name, entry.spec.context)
