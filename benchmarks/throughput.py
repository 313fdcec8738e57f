"""Tokens/s without contention, vLLM's own scheduler and Andes in turns: `python -m benchmarks.throughput [--pairs 30]`.

Two live CPU engines with the same small model and memory for every request. A batch that arrives at once is replayed on both,
pair by pair, who begins changing from pair to pair. There is nothing to decide, so a difference is what the scheduler costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import trange

from agents.bootstrap import percentile_interval
from andes_engine.contender import Contender
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import planner_for, simulated_twin
from andes_engine.vllm.episode import EpisodeRequest, LiveConfig
from benchmarks.data_file import made_by, write_data

REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 96, 32, 96
ENGINE = LiveConfig(kv_blocks=1024, max_num_seqs=128)
GOAL = 0.01
REPLICATES = 10_000


def pairs(count: int, batch: Sequence[EpisodeRequest]) -> NDArray[np.float64]:
    """Tokens/s of stock vLLM and of Andes, after one run of each to warm up. Shape (pairs, 2)."""
    from andes_engine.vllm.live_engine import LiveEngine

    tokens = sum(request.output_tokens for request in batch)
    twin = simulated_twin(ENGINE, preset("cpu_tiny_llama"))
    found = np.empty((count + 1, 2))
    with ExitStack() as booted:
        engines = [LiveEngine(ENGINE, "stock"), LiveEngine(ENGINE, "andes")]
        for engine in engines:
            booted.callback(engine.shutdown)
        for pair in trange(count + 1, unit="pair", disable=None):
            for which in (0, 1) if pair % 2 == 0 else (1, 0):
                planner = planner_for(Contender("andes"), twin) if which else None
                engines[which].replay(batch, planner)
                found[pair, which] = tokens / engines[which].now_s
    return found[1:]


def summary(found: NDArray[np.float64], seed: int = 0) -> dict[str, Any]:
    """Medians, and the median share of the throughput that Andes loses with its 95 % interval (bootstrap over pairs)."""
    lost = 1.0 - found[:, 1] / found[:, 0]
    drawn = np.random.default_rng(seed).integers(len(lost), size=(REPLICATES, len(lost)))
    low, high = percentile_interval(np.median(lost[drawn], axis=1))
    stock, andes = np.median(found, axis=0).tolist()
    return {
        "stock_tokens_per_s": stock,
        "andes_tokens_per_s": andes,
        "lost": float(np.median(lost)),
        "interval": [low, high],
    }


def sentence(result: dict[str, Any], count: int) -> str:
    """The result in words."""
    low, high = result["interval"]
    return (
        f"{REQUESTS} requests at once, memory for all, {count} pairs: {result['stock_tokens_per_s']:,.0f} tokens/s with vLLM's "
        f"own scheduler, {result['andes_tokens_per_s']:,.0f} with Andes (medians); throughput lost, pair by pair: "
        f"{result['lost']:+.2%} [{low:+.2%}, {high:+.2%}] (goal: less than {GOAL:.0%})."
    )


def page_of(said: str, made: dict[str, Any]) -> str:
    """The result as a file of its own."""
    written = f"Written by `{made['command']} --page benchmarks/THROUGHPUT.md` at commit `{made['commit']}`, live vLLM on a CPU."
    return f"# Throughput without contention\n\n{written}\n\n{said}\n"


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="runs of each scheduler")
    parser.add_argument("--page", type=Path, help="Markdown file for the result, such as benchmarks/THROUGHPUT.md")
    parser.add_argument("--data", type=Path, default=Path("runs/benchmarks/throughput.json"))
    asked = parser.parse_args(given)
    batch = [EpisodeRequest(f"r{row}", 0.0, PROMPT_TOKENS, OUTPUT_TOKENS) for row in range(REQUESTS)]
    found = pairs(asked.pairs, batch)
    result = summary(found)
    made = made_by(f"python -m benchmarks.throughput --pairs {asked.pairs}")
    write_data(asked.data, {**made, **result, "tokens_per_s": found.round(1).tolist()})
    said = sentence(result, asked.pairs)
    print(said)
    if asked.page is not None:
        asked.page.write_text(page_of(said, made), encoding="utf-8")


if __name__ == "__main__":
    main()
