"""A tiny model, made-up examples and a loader over them, for tests of the loop and the engines."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fcdist.config.types import BatchConfig, Config, OptimConfig, TrainConfig, TuningConfig, ZeroConfig
from fcdist.data.batch import Batch, Kind, StepBatches
from fcdist.data.collating import collate, filler
from fcdist.data.tokenizing import Example
from fcdist.errors import CheckpointError
from fcdist.model.debug import VOCAB_SIZE, tiny_model
from fcdist.model.precision import dtype_of

FINGERPRINT = "made-up"


class ExampleStore:
    """Random examples; row `i` is the same in every process."""

    def __init__(self, num_examples: int = 24) -> None:
        random = np.random.default_rng(7)
        self._examples = []
        for _ in range(num_examples):
            length = int(random.integers(6, 14))
            kinds = random.integers(1, len(Kind), size=length)
            kinds[: int(random.integers(2, length - 1))] = Kind.CONTEXT
            ids = random.integers(4, VOCAB_SIZE, size=length).astype(np.int32)
            self._examples.append(Example(ids, kinds.astype(np.int8), 2))

    def example(self, row: int) -> Example:
        return self._examples[row]


class TinyLoader:
    """Steps of one-example packs, dealt round robin; an odd pack count leaves a filler on the last rank."""

    def __init__(self, num_steps: int = 4, packs: int = 4, rank: int = 0, world_size: int = 1):
        self.store = ExampleStore()
        self.num_steps, self.done = num_steps, 0
        self._packs, self._rank, self._world_size = packs, rank, world_size
        self.fingerprint = FINGERPRINT

    @property
    def epoch_progress(self) -> float:
        return self.done / 4

    def next_step(self) -> StepBatches:
        random = np.random.default_rng(self.done)
        rows = [int(row) for row in random.choice(24, size=self._packs, replace=False)]
        self.done += 1
        num_targets = sum(int((self.store.example(row).kinds > 0).sum()) for row in rows)
        mine = rows[self._rank :: self._world_size]
        batches = [collate(self.store, [(row,)]) for row in mine]
        count = -(-self._packs // self._world_size)
        batches += [filler()] * (count - len(batches))
        return StepBatches(tuple(batches), float(num_targets), sum(len(self.store.example(r).kinds) for r in rows))

    def state_dict(self) -> Mapping[str, Any]:
        return {"fingerprint": self.fingerprint, "done": self.done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if state["fingerprint"] != self.fingerprint:
            raise CheckpointError("other data")
        self.done = state["done"]


class TinyLoss(nn.Module):
    """Sum of cross entropies over the targets of a batch of one example, in the weights' own precision upwards."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        logits = self.model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
        logits = logits[0, batch.target_index]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        losses = nn.functional.cross_entropy(logits, batch.target_ids, reduction="none") * batch.target_weights
        kinds = torch.zeros(len(Kind), dtype=losses.dtype)
        return losses.sum(), kinds.index_add(0, batch.target_kinds.long(), losses.detach())


class Recorder:
    """A sink that keeps the records."""

    def __init__(self) -> None:
        self.records: list[dict[str, float]] = []

    def resume(self, step: int) -> None:
        pass

    def write(self, record) -> None:
        self.records.append(dict(record))

    def close(self) -> None:
        pass


def tiny_config(
    engine: str = "local",
    stage: int = 2,
    mode: str = "full",
    dropout: float = 0.0,
    precision: str = "fp32",
    **train: Any,
) -> Config:
    """Settings of a run of a few steps; Adam's epsilon is large so that rounding stays rounding."""
    return Config(
        seed=3,
        batch=BatchConfig(seq_len=64, global_batch_size=4, micro_batch_size=1),
        tuning=TuningConfig(mode=mode, r=4, alpha=8.0, dropout=dropout),  # type: ignore[arg-type]
        optim=OptimConfig(lr=1e-2, eps=1e-4, weight_decay=0.1, max_grad_norm=0.5, warmup_fraction=0.25),
        zero=ZeroConfig(engine=engine, stage=stage, bucket_size=4096),  # type: ignore[arg-type]
        train=TrainConfig(precision=precision, **train),  # type: ignore[arg-type]
    )


def tiny_module(cfg: Config, dtype: torch.dtype | None = None) -> TinyLoss:
    """The debug model with the configured tuning."""
    from peft import LoraConfig, get_peft_model

    model = tiny_model("llama", dtype=dtype or dtype_of(cfg))
    if cfg.tuning.mode == "lora":
        torch.manual_seed(1)
        lora = LoraConfig(
            r=cfg.tuning.r, lora_alpha=int(cfg.tuning.alpha), lora_dropout=cfg.tuning.dropout,
            target_modules=list(cfg.tuning.targets), task_type="CAUSAL_LM",
        )  # fmt: skip
        model = get_peft_model(model, lora)  # type: ignore[assignment]
        if dtype is not None:
            model.to(dtype)
    model.train()
    return TinyLoss(model)


def with_train(cfg: Config, **changes: Any) -> Config:
    """`cfg` with other settings of `train`."""
    return replace(cfg, train=replace(cfg.train, **changes))


def max_difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Largest absolute difference over all weights; the names must agree."""
    assert a.keys() == b.keys() and a
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def is_same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether all weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def rows_of(batches: Sequence[Batch]) -> list[int]:
    """Examples in these batches."""
    return [row for batch in batches for row in batch.examples]
