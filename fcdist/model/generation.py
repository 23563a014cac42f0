"""What token-by-token decoding needs beyond the model: a cache that grows in place, and attention that shares heads.

transformers' own cache copies everything at every token, and its `sdpa` repeats the keys of grouped queries before it
attends under a mask. On SmolLM2 with 96 rows of 150 tokens (CPU, bf16) both together took two thirds of a step.
"""

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

GENERATE = "fcdist_generate"
"""Name of the attention, for `set_attention`."""
SPARE_COLUMNS = 64
"""Columns allocated ahead when a cache is full."""


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with room for tokens to come: appending writes in place."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [R, H, N, D] keys and values; returns all of them, [R, H, L, D]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        total = length + key_states.shape[-2]
        assert self.keys is not None and self.values is not None  # set by the initialisation above
        if self._room is None or total > self._room[0].shape[-2]:
            self._room = (
                _roomier(self.keys, key_states, length, total),
                _roomier(self.values, value_states, length, total),
            )
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[..., length:total, :] = states
        self.keys, self.values = (room[..., :total, :] for room in self._room)
        return self.keys, self.values

    def release(self) -> None:
        """Give up the room; a copy must, or it would write over the columns its original adds."""
        self._room = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep rows `indices`."""
        self.release()
        super().batch_select_indices(indices)


def _roomier(old: Tensor, fresh: Tensor, length: int, total: int) -> Tensor:
    room = fresh.new_empty(*fresh.shape[:-2], total + SPARE_COLUMNS, fresh.shape[-1])
    if length:
        room[..., :length, :] = old
    return room


def growing_cache(config: PreTrainedConfig) -> DynamicCache:
    """Empty cache for a model; layers of other kinds (sliding windows) stay transformers' own."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def attend_for_generation(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """`sdpa` of transformers, but one new token of grouped queries attends without repeating keys and values.

    The queries that share a key head become the rows of one query block, which one mask row serves.

    Args:
        module: the attention layer.
        query: [R, H, N, D].
        key: [R, K, L, D], K divides H.
        value: [R, K, L, D].
        attention_mask: [R, 1, N, L] bool or None.
        options: as in transformers' attention functions.

    Returns:
        [R, N, H, D] and None (no attention weights).
    """
    rows, heads, new, width = query.shape
    if new != 1 or heads == key.shape[1]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    out = nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=options.get("scaling"), is_causal=False
    )
    return out.reshape(rows, 1, heads, width), None


AttentionInterface.register(GENERATE, attend_for_generation)
AttentionMaskInterface.register(GENERATE, sdpa_mask)
