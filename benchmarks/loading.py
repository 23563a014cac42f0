"""Memory of two gloo ranks while they load a model and ZeRO-3 takes it over, LoRA: divided as it is read, and whole.

    OMP_NUM_THREADS=1 python -m benchmarks.loading [--layers 16] [--folder DIR]

A random model of Llama's form is written in files of 200 MB, once in bf16 and once in fp32; the run is in bf16. On the
CPU "the device" is host memory too, so a rank's share of the weights is part of what is measured.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from fcdist import train
from fcdist.config.types import Config, ModelConfig, TrainConfig, ZeroConfig
from fcdist.training.engines.engine import build_engine

RANKS = 2
CPU = torch.device("cpu")


class Watch(threading.Thread):
    """Most memory of this process: its own pages, and pages of mapped files, which others may share."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.mapped = 0
        self._before = memory()
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.002):
            self.look()

    def look(self) -> None:
        own, mapped = memory()
        self.own = max(self.own, own - self._before[0])
        self.mapped = max(self.mapped, mapped - self._before[1])

    def stop(self) -> tuple[int, int]:
        self._done.set()
        self.join()
        return self.own, self.mapped


def memory() -> tuple[int, int]:
    """Bytes of (anonymous memory, mapped files) of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(1024 * int(lines[key].split()[0]) for key in ("RssAnon", "RssFile"))  # type: ignore[return-value]


def rank_main(rank: int, cfg: Config, divided: bool, folder: str, results: Any) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    store = dist.FileStore(f"{folder}/store", RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(minutes=10))
    if not divided:
        train.dividing = lambda cfg, device: nullcontext()  # type: ignore[assignment]
    dist.barrier()
    watch, started = Watch(), time.perf_counter()
    watch.start()
    module = train.build_module(cfg, CPU)
    watch.look()
    loaded = watch.own, watch.mapped, time.perf_counter() - started
    engine = build_engine(module, cfg, CPU)
    whole = watch.stop()
    results.put((rank, *loaded, *whole, time.perf_counter() - started))
    dist.barrier()
    del engine


def measure(cfg: Config, divided: bool) -> list[tuple[Any, ...]]:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # tensors that are freed go back to the system at once
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        ranks = [context.Process(target=rank_main, args=(r, cfg, divided, folder, results)) for r in range(RANKS)]
        for process in ranks:
            process.start()
        found = sorted(results.get() for _ in ranks)
        for process in ranks:
            process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    arguments = parser.parse_args()
    shape = LlamaConfig(
        vocab_size=8192, hidden_size=2048, intermediate_size=5632, num_hidden_layers=arguments.layers,
        num_attention_heads=16, num_key_value_heads=4, tie_word_embeddings=True,
    )  # fmt: skip
    table = Table(title="MB of a rank, most at a time", title_justify="left")
    for column in ("files", "model", "rank", "loading: own", "mapped", "s", "and taken over: own", "mapped", "s"):
        table.add_column(column, justify="right")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
            torch.set_default_dtype(dtype)
            model = LlamaForCausalLM(shape)
            torch.set_default_dtype(torch.float32)
            size = sum(p.numel() for p in model.parameters())
            model.save_pretrained(f"{folder}/{name}", max_shard_size="200MB")
            del model
            cfg = Config(
                model=ModelConfig(path=f"{folder}/{name}"),
                zero=ZeroConfig(stage=3, bucket_size=5_000_000),
                train=TrainConfig(precision="bf16"),
            )
            for divided in (False, True):
                for rank, *figures in measure(cfg, divided):
                    cells = [f"{x:.1f}" if i % 3 == 2 else f"{x / 1e6:,.0f}" for i, x in enumerate(figures)]
                    table.add_row(name, "divided" if divided else "whole", str(rank), *cells)
    Console(width=150).print(f"{size:,} weights, {size * 2 / 1e6:,.0f} MB in bf16")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
