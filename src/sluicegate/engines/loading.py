"""Model and tokenizer into memory: device, measured dtype, chat template; torch inside."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.environment import read_variable
from sluicegate.errors import DataError, IntegrityError, MissingExtraError, ModelError
from sluicegate.hashing import digest_value, read_json, write_json
from sluicegate.project import model_cache

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BFLOAT16_GAIN = 1.5
"""How much faster than float32 bfloat16 must be to be chosen: below it, exactness is worth more."""


@contextlib.contextmanager
def quiet_transformers(*, bars: bool = False) -> Iterator[None]:
    """Inside the block transformers prints errors only, and progress bars only if `bars`."""
    from transformers.utils import logging

    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        (logging.enable_progress_bar if shown else logging.disable_progress_bar)()


def device() -> torch.device:
    """The GPU if torch sees one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_all_cores() -> None:
    """Let torch use every core this process may run on, unless OMP_NUM_THREADS says otherwise."""
    import torch

    if not read_variable("OMP_NUM_THREADS"):
        torch.set_num_threads(
            max(
                1,
                len(os.sched_getaffinity(0))
                if hasattr(os, "sched_getaffinity")
                else os.cpu_count() or 1,
            )
        )


def matmul_rate(dtype: str) -> float:
    """Measured rate of a (512, 576) x (576, 1536) product here in GFLOP/s, best in half a second.

    Whether bfloat16 is fast is a property of the processor: with AVX512-BF16 or AMX it is several
    times as fast as float32, without them far slower.
    """
    import torch

    use_all_cores()
    where, kind = device(), getattr(torch, dtype)
    left = torch.ones(512, 576, dtype=kind, device=where)
    right = torch.ones(1536, 576, dtype=kind, device=where)
    best, until = float("inf"), time.perf_counter() + 0.5
    with torch.inference_mode():
        for trial in range(40):
            started = time.perf_counter()
            torch.nn.functional.linear(left, right)
            if where.type == "cuda":
                torch.cuda.synchronize()
            if trial:  # the first one loads kernels
                best = min(best, time.perf_counter() - started)
            if trial >= 2 and time.perf_counter() > until:
                break
    return 2 * 512 * 576 * 1536 / max(best, 1e-9) / 1e9


@functools.cache
def faster_dtype() -> str:
    """`bfloat16` if it multiplies 1.5 times as fast as float32 here, else `float32`.

    Measured once per machine, torch version and core count and kept in the model cache, so that a
    busy machine never gives two stages different answers.
    """
    import torch

    use_all_cores()
    where = device()
    name = torch.cuda.get_device_name() if where.type == "cuda" else _processor()
    machine = {"device": name, "torch": torch.__version__, "threads": torch.get_num_threads()}
    record = model_cache() / "digests" / f"dtype-{digest_value(machine)[:16]}.json"
    with contextlib.suppress(IntegrityError):
        known = read_json(record).get("dtype")
        if known in ("float32", "bfloat16"):
            return str(known)
    rates = {name: matmul_rate(name) for name in ("float32", "bfloat16")}
    chosen = "bfloat16" if rates["bfloat16"] >= BFLOAT16_GAIN * rates["float32"] else "float32"
    write_json(record, {"dtype": chosen, "gflops": rates, **machine})
    return chosen


def choose_dtype(asked: str = "auto", *, exact: bool = False) -> str:
    """`float32` or `bfloat16`: as asked, or for `auto` whichever a measurement favours.

    Args:
        exact: the answers must not depend on how rows are batched, as they do in bfloat16: on a
            processor `auto` then means float32; on a GPU it stays measured.
    """
    if asked != "auto":
        return asked
    if exact and device().type == "cpu":
        return "float32"
    return faster_dtype()


def _processor() -> str:
    """Model and instruction sets of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return " ".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """Tokenizer of a base model folder.

    Raises:
        ModelError: it cannot be read, or has no chat template.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"the tokenizer in {path} cannot be loaded: {error}") from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer in {path} has no chat template.",
            hint="Choose an instruct model as base.",
        )
    return tokenizer


def encode_chat(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, answer: bool = True
) -> list[int]:
    """Token ids of `messages` under the chat template; `answer` opens the assistant's turn.

    With `answer`, a last message of the assistant's is a turn that has begun: what is generated
    goes on with it.

    Raises:
        DataError: the template refuses these messages.
    """
    import jinja2

    begun = answer and bool(messages) and messages[-1].get("role") == "assistant"
    turn = {"add_generation_prompt": answer and not begun, "continue_final_message": begun}
    try:
        encoded = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **turn)
    except (jinja2.TemplateError, TypeError, KeyError) as error:
        raise DataError(f"the model's chat template refuses these messages: {error}") from error
    ids: Any = encoded["input_ids"]
    return [int(token) for token in ids]


def load_model(path: Path, dtype: str, *, quantization: str = "none") -> PreTrainedModel:
    """Causal language model of a base model folder, frozen, in eval mode, on `device()`.

    Args:
        quantization: `none`, or `int8` / `nf4` (a GPU and the `quant` extra).

    Raises:
        ModelError: the folder cannot be loaded, or quantization is asked for without a GPU.
        MissingExtraError: bitsandbytes is absent.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    use_all_cores()
    where = device()
    loaded_as = getattr(torch, dtype)
    extra: dict[str, Any] = {}
    if quantization != "none":
        extra = {
            "quantization_config": _quantization(quantization, loaded_as),
            "device_map": {"": where},
        }
    try:
        with quiet_transformers():
            model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
                path, dtype=loaded_as, attn_implementation="sdpa", use_safetensors=True,
                local_files_only=True, trust_remote_code=False, **extra,
            )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {path} cannot be loaded: {error}") from error
    if not extra:
        model.to(where)
    model.requires_grad_(False)
    return model.eval()


def load_tuned(
    weights: Path, adapter: Path | None, dtype: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer; the adapter is merged in float32, then all is cast to `dtype`.

    Raises:
        ModelError: base or adapter cannot be loaded.
    """
    tokenizer = load_tokenizer(weights)
    if adapter is None:
        return load_model(weights, dtype), tokenizer
    import torch
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            # PEFT 0.21 reads a name that transformers 5 has renamed
            warnings.simplefilter("ignore", FutureWarning)
            tuned = PeftModel.from_pretrained(load_model(weights, "float32"), str(adapter))
        merged = tuned.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ModelError(f"the adapter {adapter} cannot be loaded: {error}") from error
    return merged.eval(), tokenizer


def _quantization(kind: str, dtype: Any) -> Any:
    import importlib.util

    if device().type != "cuda":
        raise ModelError(
            f"quantization {kind} needs a GPU; torch sees none.",
            hint="Set tune.quantization to none.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "quant")
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_use_double_quant=True,
    )
