"""What a forward and backward pass keeps: the model's own code runs on `meta`, where tensors have shapes and no memory.

So whatever the model's class, adapter, loss and checkpointing allocate is counted as torch would allocate it, without a
formula for each architecture. Only attention is stood in for, by the buffers of the flash cascade. Layers of equal
shapes are alike: two depths are run and the rest is a straight line (Korthikanti et al. 2022, arXiv:2205.05198: all
layers' activations are alive when the backward begins).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from fcdist.config.types import Config, ModelConfig, TuningConfig
from fcdist.data.batch import Batch, Segments
from fcdist.errors import ModelError
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing
from fcdist.model.outline import outline_model
from fcdist.model.precision import dtype_of
from fcdist.training.estimates.tracking import LiveTensors
from fcdist.training.loss import HEAD_ELEMENTS, LossModule

BRANCHES = 4
"""Branches of the row that is run if prompts are shared: a prompt of half the row and so many continuations."""


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes beside weights and gradients of weights."""

    kept: int
    """By the decoder for its backward pass."""
    head: int
    """More while head and loss run, both ways: logits, their gradient and upcast pieces."""
    layer: int
    """More while one layer runs backward, recomputed or not, with the gradient of one weight at a time."""

    @property
    def peak(self) -> int:
        """All that is alive at once at most."""
        return self.kept + max(self.head, self.layer)


@dataclass(frozen=True, slots=True)
class Weights:
    """Parameters of a model, by number."""

    trained: int
    frozen: int
    trained_small: int
    """Of tensors below ZeRO-3's threshold, which stay whole on every rank."""
    frozen_small: int
    largest: int
    """Of the largest tensor."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.trained + self.frozen


PERSISTENT = 100_000
"""Elements below which ZeRO-3 keeps a parameter whole (DeepSpeed's stage3_param_persistence_threshold)."""


def outline(cfg: Config, num_layers: int = 0) -> nn.Module:
    """The tuned model of a run on `meta`, in train mode, built once. Of `train` precision and checkpointing count.

    Raises:
        ModelError: see `outline_model` and `apply_tuning`.
    """
    return _outline(cfg.model, cfg.tuning, dtype_of(cfg), cfg.train.activation_checkpointing, num_layers)


@lru_cache(maxsize=12)
def _outline(
    cfg: ModelConfig, tuning: TuningConfig, dtype: torch.dtype, checkpointing: bool, num_layers: int
) -> nn.Module:
    model = apply_tuning(outline_model(cfg, dtype, num_layers), tuning)
    if checkpointing:
        enable_activation_checkpointing(model)
    model.train()
    return model


def count_weights(model: nn.Module) -> Weights:
    """Parameters of a model, a tied one once."""

    def number(small: bool, trained: bool) -> int:
        found = (p.numel() for p in model.parameters() if p.requires_grad == trained)
        return sum(n for n in found if n < PERSISTENT or not small)

    return Weights(
        trained=number(False, True),
        frozen=number(False, False),
        trained_small=number(True, True),
        frozen_small=number(True, False),
        largest=max(p.numel() for p in model.parameters()),
    )


def estimate_activations(cfg: Config, tokens: int, targets: int) -> Activations:
    """Activations of one micro-batch on one rank.

    Args:
        cfg: `model`, `tuning`, `train` and `batch.examples_per_prefix` count; under ZeRO-3 the head runs at once.
        tokens: of the row.
        targets: rows at the head.

    Raises:
        ModelError: the model cannot be run on shapes alone (its routing depends on values).
    """
    whole = outline(cfg)
    depth = len(_layers(whole))
    alike = len({tuple(p.shape for p in layer.parameters()) for layer in _layers(whole)}) == 1
    if depth <= 3 or not alike:
        return _run(whole, cfg, tokens, targets)
    two, three = (_run(outline(cfg, layers), cfg, tokens, targets) for layers in (2, 3))
    return Activations(
        kept=two.kept + (depth - 2) * (three.kept - two.kept),
        head=two.head,
        layer=max(two.layer, three.layer),
    )


def _run(model: nn.Module, cfg: Config, tokens: int, targets: int) -> Activations:
    base: Any = model
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    is_sharded = cfg.zero.engine == "deepspeed" and cfg.zero.stage == 3
    module = LossModule(model, head_elements=1 << 62 if is_sharded else HEAD_ELEMENTS)
    trained: list[Any] = [p for p in model.parameters() if p.requires_grad]
    forgotten = [p.register_post_accumulate_grad_hook(_forget) for p in trained]
    tracker = LiveTensors("meta")
    marks: dict[str, int] = {}

    def leave_decoder(decoder: nn.Module, args: Any, output: Any) -> None:
        hidden = output.last_hidden_state
        marks["kept"], marks["forward"] = tracker.live, tracker.restart()
        hidden.register_hook(lambda grad: marks.setdefault("head", tracker.restart()) and None)

    hook = base.get_decoder().register_forward_hook(leave_decoder)
    try:
        with tracker:
            tracker.add(*model.parameters(), *model.buffers())
            before = tracker.live
            loss, _ = module(_batch(tokens, targets, cfg.batch.examples_per_prefix > 1))
            torch.autograd.backward(loss)
    except (NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{type(base).__name__} cannot be run on shapes alone: {reason}") from error
    finally:
        hook.remove()
        for handle in forgotten:
            handle.remove()
    kept = marks["kept"] - before
    return Activations(kept, marks["head"] - marks["kept"], max(tracker.peak, marks["forward"]) - marks["kept"])


def _forget(parameter: Tensor) -> None:
    parameter.grad = None


def _layers(model: nn.Module) -> nn.ModuleList:
    base: Any = model
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    count = base.config.get_text_config().num_hidden_layers
    for module in base.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ModelError(f"{type(base).__name__}: no list of its {count} layers was found")


def _batch(tokens: int, targets: int, shared: bool) -> Batch:
    """A row of the largest size on `meta`: one segment, or a prompt with branches."""

    def zeros(*size: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.zeros(size, dtype=dtype, device="meta")

    return Batch(
        input_ids=zeros(1, tokens),
        position_ids=zeros(1, tokens),
        segments=_forest(tokens) if shared and tokens >= 4 * BRANCHES else Segments((0,), (tokens,), (-1,), (0,)),
        target_index=zeros(targets),
        target_ids=zeros(targets),
        target_weights=zeros(targets, dtype=torch.float32),
        target_kinds=zeros(targets, dtype=torch.int8),
    )


def _forest(tokens: int) -> Segments:
    prompt = tokens // 2
    cuts = [prompt + (tokens - prompt) * i // BRANCHES for i in range(BRANCHES + 1)]
    return Segments((0, *cuts[:-1]), (prompt, *cuts[1:]), (-1, *[0] * BRANCHES), (0, *[prompt] * BRANCHES))
