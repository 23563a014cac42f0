"""Sequence parallelism: one row of tokens over several ranks, for prompts beyond the memory of one GPU.

Outside attention a decoder works token by token: each rank of a group runs it on its own stretch of the row, T / n of
the T tokens. Around attention one all-to-all turns all heads of these tokens into all tokens of H / n heads, and
another turns the outputs back. So attention sees the whole row, whatever the back end, and models stay unpatched.

Source: DeepSpeed-Ulysses, Jacobs et al. 2023, arXiv:2309.14509. DeepSpeed's own UlyssesSPAttentionHF gives the same
numbers, but makes five collectives a layer, refuses numbers of key heads that neither divide the ranks nor are divided
by them, and needs DeepSpeed's communication also under zero.engine=local.
"""

from datetime import timedelta
from math import gcd
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fcdist.errors import ConfigError, ModelError


class SequenceGroup:
    """The ranks that share each row: rank i of n holds the tokens [i T / n, (i + 1) T / n).

    Args:
        group: they alone; every rank exchanges equally often in the same order, also in the backward pass.
    """

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.size = dist.get_world_size(group)
        self._group = group

    @classmethod
    def join(cls, size: int, timeout_s: float) -> "SequenceGroup | None":
        """Divide all ranks into groups of `size` consecutive ones; None for groups of one. Every rank calls it."""
        if size == 1:
            return None
        group, _ = dist.new_subgroups(size, timeout=timedelta(seconds=timeout_s))  # type: ignore[no-untyped-call]
        return cls(group)

    def to_heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From a share of the tokens to a share of the heads.

        Key heads that the ranks do not divide are repeated, as few times as give every rank equally many.

        Args:
            query: [1, H, T / n, D]; n divides H.
            key: [1, H_kv, T / n, D]; H_kv divides H.
            value: [1, H_kv, T / n, D_v].

        Returns:
            Likewise [1, H / n, T, D], [1, lcm(H_kv, n) / n, T, D] and [1, lcm(H_kv, n) / n, T, D_v].

        Raises:
            ModelError: n does not divide H.
        """
        if query.shape[1] % self.size:
            raise ModelError(f"{self.size} ranks cannot share the {query.shape[1]} attention heads of a layer evenly")
        repeats = self.size // gcd(key.shape[1], self.size)
        heads = [query, *(each.repeat_interleave(repeats, dim=1) if repeats > 1 else each for each in (key, value))]
        blocks = [each.reshape(self.size, -1, *each.shape[2:]).transpose(1, 2) for each in heads]  # [n, T / n, h, D]
        row = self._exchange(torch.cat([block.flatten(2) for block in blocks], dim=2)).flatten(0, 1)  # [T, h D + ...]
        parts = torch.split(row, [block.shape[2] * block.shape[3] for block in blocks], dim=1)
        query, key, value = (
            part.reshape(1, len(row), *block.shape[2:]).transpose(1, 2)
            for part, block in zip(parts, blocks, strict=True)
        )
        return query, key, value

    def to_tokens(self, output: Tensor) -> Tensor:
        """[1, T, H / n, D] of a share of the heads to [1, T / n, H, D] of a share of the tokens."""
        blocks = self._exchange(
            output.reshape(self.size, -1, *output.shape[2:])
        )  # [n, T / n, H / n, D], by the sender's heads
        return blocks.transpose(0, 1).flatten(1, 2)[None]

    def _exchange(self, blocks: Tensor) -> Tensor:
        exchanged: Tensor = _AllToAll.apply(blocks, self._group)  # type: ignore[no-untyped-call]
        return exchanged


class _AllToAll(torch.autograd.Function):
    """Block i goes to rank i; block j of the result comes from rank j. Its transpose is itself."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        blocks = blocks.contiguous()
        received = torch.empty_like(blocks)
        dist.all_to_all_single(received, blocks, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        exchanged: Tensor = _AllToAll.apply(grads[0], ctx.group)  # type: ignore[no-untyped-call]
        return exchanged, None


def check_heads(model: nn.Module, size: int) -> None:
    """Refuse a group whose ranks cannot share a model's attention heads evenly.

    Args:
        model: with or without an adapter, weights or not.
        size: `batch.sequence_parallel`.

    Raises:
        ConfigError: names the numbers of ranks that could.
    """
    config: Any = model.config
    num_heads: int = config.get_text_config().num_attention_heads
    if num_heads % size:
        possible = ", ".join(str(n) for n in range(1, num_heads + 1) if num_heads % n == 0)
        raise ConfigError(
            f"batch.sequence_parallel={size} does not divide the {num_heads} attention heads of the model, which its "
            f"ranks share evenly; possible: {possible}"
        )
