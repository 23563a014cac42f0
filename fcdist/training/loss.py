"""The loss of a batch: summed cross-entropy over its targets, in fp32; only target rows reach the head."""

from typing import Any

import torch
from torch import Tensor, nn

from fcdist.data.batch import Batch, Kind
from fcdist.errors import ModelError
from fcdist.model.forest import Layout

CHUNK_ELEMENTS = 1 << 24
"""Logits upcast to fp32 at a time (64 MiB)."""


class LossModule(nn.Module):
    """What an engine wraps: model and loss in one forward, where ZeRO-3 has the parameters gathered."""

    def __init__(self, model: nn.Module, chunk_elements: int = CHUNK_ELEMENTS) -> None:
        """Wrap a decoder whose attention is set up for packs (`set_attention`), with or without an adapter."""
        super().__init__()
        self.model = model
        self.chunk_elements = chunk_elements
        config: Any = model.config
        self.num_layers: int = config.get_text_config().num_hidden_layers

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of one batch.

        Args:
            batch: T tokens, M targets; M may be 0.

        Returns:
            Sum of weight times cross-entropy over the targets, a fp32 scalar that depends on every trainable
            parameter even for M = 0 (a rank without targets must take part in the reduction of gradients); and the
            same sum per Kind, [5] fp32, detached.

        Raises:
            ModelError: the model's layers attended without the segments of the batch.
        """
        layout = Layout(batch.segments, batch.input_ids.shape[1])
        outputs = self.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=batch.target_index,
            segments=layout,
        )
        if layout.calls < self.num_layers:
            raise ModelError(
                f"{layout.calls} of {self.num_layers} layers attended over segments: the model attends some other way, "
                "so that the examples of a pack would see each other"
            )
        losses = token_losses(outputs.logits[0], batch.target_ids, self.chunk_elements) * batch.target_weights
        kinds = torch.arange(len(Kind), device=losses.device)
        kind_sums = (losses.detach()[:, None] * (batch.target_kinds[:, None] == kinds)).sum(0)
        return losses.sum(), kind_sums


def token_losses(logits: Tensor, targets: Tensor, chunk_elements: int = CHUNK_ELEMENTS) -> Tensor:
    """Cross-entropy of each row, in fp32.

    Computed as logsumexp minus the target's logit, in chunks of rows: of an upcast copy only one chunk is alive, and
    for the backward pass only the logits themselves and one number per row are kept.

    Args:
        logits: [M, V], any float dtype.
        targets: [M] int64.
        chunk_elements: logits upcast at a time.

    Returns:
        [M] fp32.
    """
    losses: Tensor = _TokenLosses.apply(logits, targets, chunk_elements)  # type: ignore[no-untyped-call]
    return losses


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, chunk_elements: int) -> Tensor:
        rows = max(1, chunk_elements // max(1, logits.shape[1]))
        dtype = torch.promote_types(logits.dtype, torch.float32)
        log_sums = torch.empty(logits.shape[0], dtype=dtype, device=logits.device)
        for start in range(0, logits.shape[0], rows):
            log_sums[start : start + rows] = logits[start : start + rows].to(dtype).logsumexp(-1)
        ctx.save_for_backward(logits, targets, log_sums)
        ctx.rows = rows
        return log_sums - logits.gather(-1, targets[:, None])[:, 0].to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, log_sums = ctx.saved_tensors
        result = torch.empty_like(logits)
        for start in range(0, logits.shape[0], ctx.rows):
            part = slice(start, start + ctx.rows)
            gradient = (logits[part].to(log_sums.dtype) - log_sums[part, None]).exp_()
            gradient.scatter_add_(-1, targets[part, None], gradient.new_full((len(gradient), 1), -1.0))
            result[part] = gradient.mul_(grads[0][part, None])
        return result, None, None
