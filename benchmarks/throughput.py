"""fcdist's own training step on a ShareGPT file: one JSON line with the fields of the peers' scripts.

    OMP_NUM_THREADS=1 python -m benchmarks.throughput --data FILE --out SCRATCH --seq-len 4096 --examples-per-prefix 16

The real path: token store, plan, loader, LoRA r=16 on all linear layers in bf16, engine, optimizer step.
"""

import argparse
import resource
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.settings import add_model_arguments, cpu_seconds, load_renderer, peer_config, print_facts
from fcdist import __version__
from fcdist.config.types import BatchConfig, Config
from fcdist.data.batch import StepBatches
from fcdist.data.loader import PackLoader
from fcdist.data.store import TokenStore, build_store
from fcdist.train import build_module
from fcdist.training.engines.engine import Engine, build_engine
from fcdist.training.estimates.flops import Cost, Shape
from fcdist.training.loop import train_step


@dataclass
class Meter:
    """Sums over the timed steps."""

    lengths: list[int]
    shape: Shape
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tokens: int = 0
    """Of the examples, each counted in full."""
    computed: int = 0
    """Tokens the model computed."""
    targets: int = 0
    samples: int = 0
    flops: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    separate_flops: Cost = field(default_factory=lambda: Cost(0, 0, 0))
    """Of the same examples one by one."""
    losses: list[float] = field(default_factory=list)

    def add(self, step: StepBatches, seconds: float, cpu_seconds: float) -> None:
        self.seconds += seconds
        self.cpu_seconds += cpu_seconds
        for batch in step.batches:
            lengths = [self.lengths[row] for row in batch.examples]
            self.samples += len(lengths)
            self.tokens += sum(lengths)
            self.computed += batch.input_ids.shape[1]
            self.targets += len(batch.target_ids)
            self.flops += self.shape.of_batch(batch)
            self.separate_flops += self.shape.of_examples(lengths, len(batch.target_ids))

    def facts(self) -> dict[str, Any]:
        return {
            "tokens_s": round(self.tokens / self.seconds, 1),
            "sup_tokens_s": round(self.targets / self.seconds, 1),
            "samples_s": round(self.samples / self.seconds, 4),
            "tokens_cpu_s": round(self.tokens / self.cpu_seconds, 1),
            "samples_cpu_s": round(self.samples / self.cpu_seconds, 4),
            "useful": round(self.tokens / self.computed, 4),
            "supervised": round(self.targets / self.tokens, 4),
            "samples": self.samples,
            "cpu_s": round(self.cpu_seconds, 2),
            "gflops_cpu_s": round(self.flops.total / self.cpu_seconds / 1e9, 1),
            "flop_ratio": round(self.separate_flops.total / self.flops.total, 3),
            "attention_share": round(self.flops.attention / self.flops.total, 3),
        }


def measure(cfg: Config, store: TokenStore, steps: int, warmup: int) -> dict[str, Any]:
    """Train `steps` steps; the first `warmup` are not timed. Loading and collating count."""
    engine: Engine = build_engine(build_module(cfg, torch.device("cpu")), cfg, torch.device("cpu"))
    engine.train_mode(True)
    loader = PackLoader(store, cfg)
    meter = Meter(store.lengths.tolist(), Shape.of(engine.model))
    for number in range(steps):
        wall, cpu = time.perf_counter(), time.process_time()
        step = loader.next_step()
        metrics = train_step(engine, 1, step, cfg.optim.lr)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        meter.losses.append(metrics.loss)
        print(f"step {number + 1}: loss {metrics.loss:.4f}, {spent[1]:.2f} CPU s", file=sys.stderr, flush=True)
        if number >= warmup:
            meter.add(step, *spent)
    tail = meter.losses[-5:]
    first_and_last = {"loss_first": round(meter.losses[0], 4), "loss_last5": round(sum(tail) / len(tail), 4)}
    return {"steps": steps} | meter.facts() | first_and_last


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(arguments.threads)
    batch = BatchConfig(
        seq_len=arguments.seq_len,
        global_batch_size=arguments.packs,
        micro_batch_size=1,
        examples_per_prefix=arguments.examples_per_prefix,
    )
    train = {"max_steps": arguments.steps, "activation_checkpointing": arguments.activation_checkpointing}
    cfg = peer_config(arguments, arguments.data, arguments.out, batch, **train)
    shutil.rmtree(arguments.out / "store", ignore_errors=True)
    renderer = load_renderer(arguments)
    begun, cpu_begun = time.perf_counter(), cpu_seconds()
    store = build_store(cfg, renderer)
    took, cpu_took = time.perf_counter() - begun, cpu_seconds() - cpu_begun
    facts = {
        "framework": "fcdist",
        "version": __version__,
        "mode": f"k={arguments.examples_per_prefix}",
        "activation_checkpointing": arguments.activation_checkpointing,
        "tune": "lora16",
        "max_len": arguments.seq_len,
        "batch": arguments.packs,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "samples_in": len(store),
        "dropped": store.facts["dropped"],
        "prep_samples_s": round(len(store) / took, 1),
        "prep_samples_cpu_s": round(len(store) / cpu_took, 1),
        "prep": {"seqs": len(store), "tokens": int(store.lengths.sum()), "sup_tokens": int(store.num_targets.sum())},
    }
    facts |= measure(cfg, store, arguments.steps, arguments.warmup)
    return facts | {"peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ShareGPT file")
    parser.add_argument("--out", type=Path, required=True, help="scratch run folder")
    parser.add_argument("--seq-len", type=int, default=4096, help="batch.seq_len: unique tokens of a pack")
    parser.add_argument("--packs", type=int, default=1, help="packs of a step")
    parser.add_argument("--examples-per-prefix", type=int, default=8, help="1: nothing is shared")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2, help="first steps left out of the figures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--activation-checkpointing", action="store_true")
    add_model_arguments(parser)
    print_facts(run, parser.parse_args())


if __name__ == "__main__":
    main()
