"""What a step waits for a save: full tuning of a model of SmolLM2-135M's shape, one rank of plain torch, bf16.

    python -m benchmarks.checkpoint_save [--layers 30] [--folder DIR]

Random weights; the state is 12 bytes a parameter (fp32 master, two moments), the weights for export 2 more.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from fcdist.config.types import Config, TrainConfig, TuningConfig, ZeroConfig
from fcdist.training.checkpoints.checkpoint import Checkpoints
from fcdist.training.checkpoints.identity import Identity
from fcdist.training.engines.local_engine import LocalEngine

TOKENS = 16
"""In the step that runs beside a save."""


class Model(nn.Module):
    """Holds the model where an engine looks for it."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        shape = LlamaConfig(
            vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers,
            num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
        )  # fmt: skip
        self.model = LlamaForCausalLM(shape).to(torch.bfloat16)

    def loss(self) -> Tensor:
        ids = torch.arange(TOKENS)[None]
        return self.model(input_ids=ids, labels=ids).loss  # type: ignore[no-any-return]


class NoData:
    """A loader without a place."""

    def state_dict(self) -> dict[str, int]:
        return {}


def seconds(action) -> tuple[float, float]:
    """(wall, CPU) seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's temporary folder")
    arguments = parser.parse_args()
    cfg = Config(tuning=TuningConfig(mode="full"), zero=ZeroConfig(engine="local"))
    module = Model(arguments.layers)
    engine = LocalEngine(module, cfg, torch.device("cpu"))
    engine.fragments()  # makes the optimizer's state

    def step() -> None:
        engine.backward(module.loss())

    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        step()  # the first one allocates
        rows = [(f"forward and backward of {TOKENS} tokens, alone", seconds(step))]
        waiting = Checkpoints(Path(folder, "waiting"), Identity.of(cfg, ""), TrainConfig())
        rows.append(("save that is waited for", seconds(lambda: waiting.save(1, engine, NoData()))))  # type: ignore[arg-type]
        behind = Checkpoints(Path(folder, "behind"), Identity.of(cfg, ""), replace(cfg.train, async_save=True))
        for number, name in ((1, "first"), (2, "later")):
            save = seconds(lambda number=number: behind.save(number, engine, NoData(), wait=False))  # type: ignore[misc, arg-type]
            rows.append((f"save in the background, {name}: the step waits", save))
            rows.append(("… the same forward and backward meanwhile", seconds(step)))
            rows.append(("… rest of the save", seconds(behind._background.finish)))  # type: ignore[union-attr]
        size = sum(path.stat().st_size for path in Path(folder, "waiting").rglob("*") if path.is_file())
        behind.close()
    table = Table("", "wall s", "CPU s", title=f"{size / 1e9:.2f} GB a checkpoint, {os.cpu_count()} cores")
    for label, (wall, cpu) in rows:
        table.add_row(label, f"{wall:.2f}", f"{cpu:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
