"""The loss of a batch: summed cross-entropy over its targets, in fp32; only target rows reach the head."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcdist.data.batch import Batch, Kind
from fcdist.errors import ModelError
from fcdist.model.forest import Layout
from fcdist.model.sequence_parallel import SequenceGroup

HEAD_ELEMENTS = 1 << 27
"""Logits of a batch held at a time (256 MiB in bf16, as much again for their gradient)."""
UPCAST_ELEMENTS = {"cpu": 1 << 20}
"""Logits upcast to fp32 at a time, by device type: as many as stay in a CPU's cache."""
UPCAST_DEFAULT = 1 << 24

PLAIN_HEADS = frozenset({"llama", "mistral", "mixtral", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe", "smollm3"})
"""Model types whose logits are the head on the decoder's last hidden state and nothing else (no scale, no cap)."""


class LossModule(nn.Module):
    """What an engine wraps: model and loss in one forward, where ZeRO-3 has the parameters gathered."""

    def __init__(
        self, model: nn.Module, head_elements: int = HEAD_ELEMENTS, group: SequenceGroup | None = None
    ) -> None:
        """Wrap a decoder whose attention is set up for packs (`set_attention`), with or without an adapter.

        Args:
            model: the decoder.
            head_elements: a batch with more logits than this runs the head in pieces, each computed again in the
                backward pass; models outside PLAIN_HEADS, and all under ZeRO-3, run it at once.
            group: the ranks that share each row; None: this one has all of it.
        """
        super().__init__()
        self.model = model
        self.head_elements = head_elements
        self.group = group
        config: Any = model.config
        self.num_layers: int = config.get_text_config().num_hidden_layers
        self.is_plain_head: bool = config.model_type in PLAIN_HEADS

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of one batch.

        Args:
            batch: T tokens, M targets; M may be 0. With `group`, this rank's part of a row of T times its size.

        Returns:
            Sum of weight times cross-entropy over the targets, a fp32 scalar that depends on every trainable
            parameter even for M = 0 (a rank without targets must take part in the reduction of gradients); and the
            same sum per Kind, [5] fp32, detached.

        Raises:
            ModelError: the model's layers attended without the segments of the batch.
        """
        num_tokens = batch.input_ids.shape[1] * (self.group.size if self.group else 1)
        layout = Layout(batch.segments, num_tokens, self.group)
        inputs = {
            "input_ids": batch.input_ids,
            "position_ids": batch.position_ids,
            "use_cache": False,
            "segments": layout,
        }
        base: Any = self.model
        base = base.get_base_model() if hasattr(base, "get_base_model") else base
        head = base.get_output_embeddings()
        rows = max(1, self.head_elements // base.config.get_text_config().vocab_size)
        if self.is_plain_head and len(batch.target_ids) > rows and not _is_sharded(head):
            hidden = base.get_decoder()(**inputs).last_hidden_state[0].index_select(0, batch.target_index)
            losses = head_losses(head, hidden, batch.target_ids, rows)
        else:
            logits = self.model(**inputs, logits_to_keep=batch.target_index).logits[0]
            losses = token_losses(logits, batch.target_ids)
        if layout.calls < self.num_layers:
            raise ModelError(
                f"{layout.calls} of {self.num_layers} layers attended over segments: the model attends some other way, "
                "so that the examples of a pack would see each other"
            )
        losses = losses * batch.target_weights
        kinds = torch.arange(len(Kind), device=losses.device)
        kind_sums = (losses.detach()[:, None] * (batch.target_kinds[:, None] == kinds)).sum(0)
        return losses.sum(), kind_sums


def head_losses(head: nn.Module, hidden: Tensor, targets: Tensor, rows: int) -> Tensor:
    """Cross-entropy of each row through the head, in fp32; the logits of `rows` rows exist at a time.

    The head is called as a module, so that an adapter on it and a tied matrix work as in the whole model.

    Args:
        head: [.., D] to [.., V].
        hidden: [M, D], M > 0.
        targets: [M] int64.
        rows: of one piece.

    Returns:
        [M] fp32.
    """

    def piece(hidden: Tensor, targets: Tensor) -> Tensor:
        return token_losses(head(hidden), targets)

    pieces = zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    return torch.cat([checkpoint(piece, *part, use_reentrant=False) for part in pieces])


def token_losses(logits: Tensor, targets: Tensor, upcast_elements: int | None = None) -> Tensor:
    """Cross-entropy of each row, in fp32.

    Computed as logsumexp minus the target's logit, in chunks of rows: of an upcast copy only one chunk is alive, and
    for the backward pass only the logits themselves and one number per row are kept.

    Args:
        logits: [M, V], any float dtype.
        targets: [M] int64.
        upcast_elements: logits upcast at a time; None: by device.

    Returns:
        [M] fp32.
    """
    elements = upcast_elements or UPCAST_ELEMENTS.get(logits.device.type, UPCAST_DEFAULT)
    losses: Tensor = _TokenLosses.apply(logits, targets, elements)  # type: ignore[no-untyped-call]
    return losses


def _is_sharded(head: nn.Module) -> bool:
    """Whether ZeRO-3 gathers its weights at each call: then every rank must call it equally often, whatever its M."""
    return any(hasattr(parameter, "ds_id") for parameter in head.parameters())


class _TokenLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, upcast_elements: int) -> Tensor:
        rows = max(1, upcast_elements // max(1, logits.shape[1]))
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
