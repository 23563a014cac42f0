"""Does sharing prompts pay in time to quality? Held-out loss and calls against examples seen and CPU seconds.

    OMP_NUM_THREADS=1 python -m benchmarks.time_to_quality OUT --seeds 0 1 2 --per-prefix 1 4 8

The same generated examples (8 conversations a tool set), the same number of steps and of examples a step, whatever the
number k of examples that share a prompt in a pack; k = 1 is random unshared packing. Held out are whole domains, and
with them every tool. Each run (seed, k) leaves OUT/seedS_kK.json and is not repeated; the table and OUT/curves.png are
made of what is there. CPU seconds are those of the training steps alone.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.settings import SMOLLM2
from data_pipeline.generate import generate
from fcdist.config.run_folder import function_call_dir
from fcdist.config.types import (
    BatchConfig,
    Config,
    DataConfig,
    GenerateConfig,
    OptimConfig,
    SourceConfig,
    TrainConfig,
    ZeroConfig,
)
from fcdist.data.batch import Batch, Kind
from fcdist.data.collating import collate
from fcdist.data.loader import PackLoader
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore, build_store
from fcdist.model.forest import Layout
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.train import build_module
from fcdist.training.engines.engine import Engine, build_engine
from fcdist.training.loop import train_step
from fcdist.training.loss import token_losses

HELD_OUT_DOMAINS = ("agriculture", "real_estate", "astronomy", "pets")
PACK_TOKENS = 2048
"""Unique tokens of a pack, about: what one forward holds in memory."""


@dataclass(frozen=True, slots=True)
class Point:
    """Quality after some training."""

    step: int
    examples: int
    cpu_s: float
    """Spent in training steps so far."""
    loss: float
    """Mean over the targets of the held-out conversations."""
    loss_call: float
    """Of the conversations with a call."""
    loss_no_call: float
    """Of those where none is due."""
    calls_right: float
    """Share of conversations with calls whose every call token is the likeliest one, given the text before it."""


def data_config(arguments: argparse.Namespace, split: str) -> Config:
    """Generated conversations of one split, and a store of them."""
    num = arguments.tool_sets * arguments.per_set if split == "train" else arguments.held_out
    folder = arguments.out.absolute() / split
    generated = GenerateConfig(
        num_conversations=num,
        conversations_per_tool_set=arguments.per_set,
        languages={"en": 1.0},
        held_out_domains=HELD_OUT_DOMAINS,
        split=split,  # type: ignore[arg-type]
    )
    cfg = Config(run_dir=str(folder), model=SMOLLM2, generate=generated)
    source = SourceConfig(path=str(function_call_dir(cfg)))
    return replace(
        cfg,
        data=DataConfig(sources={"generated": source}, general_ratio=0.0),
        optim=OptimConfig(lr=arguments.lr, schedule="constant", warmup_fraction=0.0),
        zero=ZeroConfig(engine="local"),
        train=TrainConfig(epochs=arguments.epochs),
    )


def build_data(cfg: Config) -> TokenStore:
    generate(cfg, Path(cfg.run_dir))
    return build_store(cfg, Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name)))


def batch_config(store: TokenStore, per_prefix: int, num_steps: int, seed: int) -> BatchConfig:
    """Settings under which an epoch has `num_steps` steps, so that a step holds as many examples for every k."""
    whole = BatchConfig(seq_len=int(store.lengths.sum()), global_batch_size=1, examples_per_prefix=per_prefix)
    computed = sum(step.num_unique_tokens for step in plan_epoch(store, whole, seed, 0))
    packs = max(1, round(computed / num_steps / PACK_TOKENS))
    seq_len = max(int(store.lengths.max()), computed // (num_steps * packs))
    while True:
        batch = replace(whole, seq_len=seq_len, global_batch_size=packs)
        if len(plan_epoch(store, batch, seed, 0)) <= num_steps:
            return batch
        seq_len += max(1, seq_len // 100)


def train_run(cfg: Config, store: TokenStore, held_out: TokenStore, num_points: int) -> list[Point]:
    """Quality before training and `num_points` times during it."""
    engine = build_engine(build_module(cfg, torch.device("cpu")), cfg, torch.device("cpu"))
    loader = PackLoader(store, cfg)
    due = {round(loader.num_steps * (i + 1) / num_points) for i in range(num_points)}
    examples, spent = 0, 0.0
    points = [judge(engine, held_out, 0, examples, spent)]
    engine.train_mode(True)
    for number in range(1, loader.num_steps + 1):
        begun = time.process_time()
        step = loader.next_step()
        train_step(engine, 1, step, cfg.optim.lr)
        spent += time.process_time() - begun
        examples += sum(len(batch.examples) for batch in step.batches)
        if number in due:
            engine.train_mode(False)
            points.append(judge(engine, held_out, number, examples, spent))
            engine.train_mode(True)
            print(json.dumps(asdict(points[-1])), flush=True)
    return points


@torch.no_grad()
def judge(engine: Engine, store: TokenStore, step: int, examples: int, cpu_s: float) -> Point:
    """Hold the model against every conversation of `store`, tool set by tool set."""
    losses: dict[bool, list[float]] = {True: [], False: []}
    right: list[bool] = []
    for rows in _by_group(store):
        batch = collate(store, [rows], min_shared_tokens=BatchConfig().min_shared_tokens)
        logits = _target_logits(engine, batch)
        scores = token_losses(logits, batch.target_ids).numpy()
        hits = (logits.argmax(-1) == batch.target_ids).numpy()
        owners = _owner_of_targets(batch, store)
        is_call = batch.target_kinds.numpy() == Kind.CALL
        for number in range(len(batch.examples)):
            own = owners == number
            called = bool((own & is_call).any())
            losses[called] += scores[own].tolist()
            if called:
                right.append(bool(hits[own & is_call].all()))
    return Point(
        step=step,
        examples=examples,
        cpu_s=round(cpu_s, 2),
        loss=statistics.fmean(losses[True] + losses[False]),
        loss_call=statistics.fmean(losses[True]),
        loss_no_call=statistics.fmean(losses[False]),
        calls_right=statistics.fmean(right),
    )


def _by_group(store: TokenStore) -> Iterator[list[int]]:
    rows = np.argsort(store.groups, kind="stable").tolist()
    for _, group in itertools.groupby(rows, key=lambda row: int(store.groups[row])):
        yield list(group)


def _target_logits(engine: Engine, batch: Batch) -> torch.Tensor:
    model: Any = engine.model
    outputs = model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        use_cache=False,
        logits_to_keep=batch.target_index,
        segments=Layout(batch.segments, batch.input_ids.shape[1]),
    )
    logits: torch.Tensor = outputs.logits[0]
    return logits


def _owner_of_targets(batch: Batch, store: TokenStore) -> np.ndarray:
    """[M] number of the example in `batch.examples` a target belongs to: prompts of one set differ from each other."""
    positions = batch.position_ids[0].tolist()
    starts, cursor = [], 0
    for row in batch.examples:
        starts.append(cursor)
        cursor += int(store.lengths[row]) - positions[cursor]  # what is shared was laid out before
    return np.searchsorted(starts, batch.target_index.numpy(), side="right") - 1


def reached(points: Sequence[Mapping[str, float]], quality: float, axis: str) -> float | None:
    """Where on `axis` the held-out loss falls to `quality`, between points on a straight line; None: it does not."""
    for before, after in itertools.pairwise(points):
        if after["loss"] <= quality <= before["loss"]:
            share = (before["loss"] - quality) / (before["loss"] - after["loss"] or 1.0)
            return before[axis] + share * (after[axis] - before[axis])
    return None


def table(runs: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: one line a k, means over the seeds; the quality asked for is where the worst of all runs ends."""
    quality = max(run["points"][-1]["loss"] for group in runs.values() for run in group)
    lines = [
        f"Held-out loss to reach: {quality:.4f}",
        "",
        "| k | seeds | loss | with call | without | calls right | CPU s | examples to reach it | CPU s to reach it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for per_prefix, group in runs.items():
        last = [run["points"][-1] for run in group]
        keys = ("loss", "loss_call", "loss_no_call", "calls_right", "cpu_s")
        means = [f"{statistics.fmean(point[key] for point in last):.4g}" for key in keys]
        found = ([reached(run["points"], quality, axis) for run in group] for axis in ("examples", "cpu_s"))
        when = [f"{statistics.fmean(x for x in axis if x is not None):.0f}" for axis in found]
        lines.append(f"| {per_prefix} | {len(group)} | {' | '.join(means)} | {' | '.join(when)} |")
    return "\n".join(lines)


def draw(runs: Mapping[int, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Held-out loss of every run against examples and against CPU seconds; one colour a k."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True)
    for panel, axis, label in zip(panels, ("examples", "cpu_s"), ("examples seen", "CPU seconds"), strict=True):
        for number, (per_prefix, group) in enumerate(runs.items()):
            for i, run in enumerate(group):
                xs, ys = ([point[key] for point in run["points"]] for key in (axis, "loss"))
                name = f"k = {per_prefix}" if i == 0 else None
                panel.plot(xs, ys, f"C{number}o-", alpha=0.7, markersize=3, label=name)
        panel.set_xlabel(label)
    panels[0].set_ylabel("held-out loss")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--per-prefix", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--tool-sets", type=int, default=20)
    parser.add_argument("--per-set", type=int, default=8)
    parser.add_argument("--examples-per-step", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--held-out", type=int, default=48, help="conversations")
    parser.add_argument("--points", type=int, default=5, help="evaluations during a run, one more before it")
    parser.add_argument("--lr", type=float, default=1e-3)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    cfg = data_config(arguments, "train")
    store, held_out = build_data(cfg), build_data(data_config(arguments, "held_out"))
    num_steps = round(len(store) / arguments.examples_per_step)
    runs: dict[int, list[Mapping[str, Any]]] = {}
    for seed, per_prefix in itertools.product(arguments.seeds, arguments.per_prefix):
        path = arguments.out / f"seed{seed}_k{per_prefix}.json"
        if not path.is_file():
            batch = batch_config(store, per_prefix, num_steps, seed)
            points = train_run(replace(cfg, seed=seed, batch=batch), store, held_out, arguments.points)
            facts = {"seed": seed, "k": per_prefix, "batch": asdict(batch), "points": [asdict(p) for p in points]}
            path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        runs.setdefault(per_prefix, []).append(json.loads(path.read_text(encoding="utf-8")))
    print(table(runs))
    draw(runs, arguments.out / "curves.png")


if __name__ == "__main__":
    main()
