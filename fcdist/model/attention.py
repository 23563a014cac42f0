"""Attention over packs: three back ends behind transformers' AttentionInterface, so that no model is patched.

A forward pass gets `segments=Layout(...)` as an extra keyword; transformers hands it through to every attention
layer. No mask function is registered under these names, hence transformers builds no mask.

Without segments (generation, evaluation with a KV cache) use transformers' own `sdpa`: `set_attention(model, "sdpa")`.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from fcdist.config.types import AttentionConfig
from fcdist.data.batch import Segments
from fcdist.errors import ModelError
from fcdist.model.cascade import TORCH_FLASH, attend_cascade, flash_unavailable
from fcdist.model.flex import attend_masked, flex_unavailable
from fcdist.model.forest import Layout
from fcdist.model.subtrees import attend_subtrees

REFERENCE = "fcdist_sdpa"
FLASH = "fcdist_varlen"
"""The flash back end; transformers takes any name with `flash` in it for a kernel of its own."""
FLEX = "fcdist_flex"
BACKENDS = (REFERENCE, FLASH, FLEX)
PLAIN = "sdpa"
"""transformers' own; for generation."""

_PACKABLE_LAYERS = frozenset({"full_attention", "sliding_attention"})


def resolve_backend(cfg: AttentionConfig, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> str:
    """Name to give to `set_attention` for `attention.backend`.

    Raises:
        ModelError: the back end asked for cannot run on this device or in this precision.
    """
    if cfg.backend == "sdpa":
        return REFERENCE
    reason = flex_unavailable(device) if cfg.backend == "flex" else flash_unavailable(device, dtype)
    if reason is None:
        return FLEX if cfg.backend == "flex" else FLASH
    if cfg.backend == "auto":
        return REFERENCE
    raise ModelError(_cannot_run(cfg.backend, reason))


def set_attention(model: nn.Module, name: str) -> None:
    """Switch the attention of a model, also under an adapter: one of BACKENDS, or sdpa for generation.

    Raises:
        ModelError: the model cannot attend over packs, with the reason.
    """
    base: Any = model
    if hasattr(base, "get_base_model"):
        base = base.get_base_model()
    if name in BACKENDS and (reason := unpackable(base)):
        raise ModelError(f"{type(base).__name__} cannot be trained on packs: {reason}")
    try:
        base.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        raise ModelError(f"{type(base).__name__} does not take attention {name!r}: {error}") from error
    if base.config.get_text_config()._attn_implementation != name:
        raise ModelError(f"{type(base).__name__} does not take attention {name!r}; its class fixes its own")


def unpackable(model: PreTrainedModel) -> str | None:
    """Why a model cannot attend over packs; None if it can."""
    config = model.config.get_text_config()
    if getattr(model.config, "is_encoder_decoder", False):
        return "it is an encoder-decoder"
    layers = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ()
    if foreign := sorted(set(layers) - _PACKABLE_LAYERS):
        return f"its {', '.join(foreign)} layers carry state across the examples of a pack"
    if getattr(model, "_is_stateful", False):
        return "it keeps a recurrent state, which would run across the examples of a pack"
    if not getattr(model, "_supports_attention_backend", False):
        return "its class does not take attention from transformers' AttentionInterface"
    if dropout := getattr(config, "attention_dropout", 0.0):
        return f"attention_dropout={dropout} in its config; packs need 0"
    if cap := getattr(config, "attn_logit_softcapping", None):
        return f"its attention caps scores (attn_logit_softcapping={cap}), which no back end here computes"
    return None


class Attend(Protocol):
    """Attention of one layer over a pack, as a back end computes it."""

    def __call__(
        self, layout: Layout, query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None
    ) -> Tensor:
        """[1, H, T, D] queries on [1, H_kv, T, D] keys and values to [1, T, H, D].

        Args:
            layout: the forest.
            query: of all tokens of the pack.
            key: likewise.
            value: likewise.
            scale: factor on the scores; None: 1 / sqrt(D).
            window: keys a token sees at most, itself included, counted along its chain of ancestors.
        """
        ...


def as_interface(attend: Attend) -> Callable[..., tuple[Tensor, None]]:
    """A back end as transformers' AttentionInterface calls it.

    Args:
        attend: the back end.

    Returns:
        A function of the attention layer, queries, keys, values, no mask, and keywords; it raises ModelError if the
        segments did not arrive, or if the layer asks for something that no back end computes.
    """

    @wraps(attend)
    def attend_layer(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        *,
        scaling: float | None = None,
        segments: Layout | Segments | None = None,
        sliding_window: int | None = None,
        **options: Any,
    ) -> tuple[Tensor, None]:
        layout = _checked_layout(module, query, key, attention_mask, segments, options)
        if layout.group is None:
            return attend(layout, query, key, value, scaling, sliding_window), None
        heads = layout.group.to_heads(query, key, value)
        return layout.group.to_tokens(attend(layout, *heads, scaling, sliding_window)), None

    return attend_layer


def _gather(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None
) -> Tensor:
    """Each segment on its ancestors and causally on itself, by torch's SDPA. Any device, any window; the reference."""
    lengths = [end - start for start, end in zip(layout.segments.start, layout.segments.end, strict=True)]
    # split, not slices: the gradient of a slice is a whole row, so slices would cost segments x tokens in the backward
    own = zip(*(torch.split(tensor, lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = []
    for i, (queries, keys, values) in enumerate(own):
        before = layout.segments.first_position[i]
        num_keys = before + lengths[i]
        if before:
            rows = layout.chain_index(i, key.device)
            keys, values = key.index_select(2, rows), value.index_select(2, rows)
        cutting = window if window and num_keys > window else None
        mask = layout.mask(lengths[i], num_keys, cutting, key.device) if before or cutting else None
        output = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(output.transpose(1, 2))
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


attend_reference = as_interface(_gather)


@as_interface
def attend_flash(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None
) -> Tensor:
    """Torch's flash kernels: on CUDA a call a level of branches, on the CPU one a segment.

    The reference takes over where the kernels cannot compute it: a window that cuts shared prefixes (on the CPU any
    that cuts), values of another width than the keys.

    Raises:
        ModelError: a device or a precision without a flash kernel.
    """
    if reason := flash_unavailable(query.device, query.dtype):
        raise ModelError(_cannot_run("flash", reason))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    window = layout.cutting(window)
    on_cpu = query.device.type == "cpu"
    if value.shape[-1] != key.shape[-1] or (window and (on_cpu or not layout.is_flat)):
        return _gather(layout, query, key, value, scale, window)
    if on_cpu:
        return attend_subtrees(layout, query, key, value, scale=scale).transpose(1, 2)
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    return attend_cascade(TORCH_FLASH, layout, *rows, scale=scale, window=window)[None]


@as_interface
def attend_flex(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None
) -> Tensor:
    """Torch's FlexAttention, with any window (CUDA).

    Raises:
        ModelError: FlexAttention has no backward on this device.
    """
    if reason := flex_unavailable(query.device):
        raise ModelError(_cannot_run("flex", reason))
    return attend_masked(layout, query, key, value, scale=scale, window=layout.cutting(window)).transpose(1, 2)


def _cannot_run(backend: str, reason: str) -> str:
    return f"attention.backend={backend} cannot run here: {reason}. Use attention.backend=auto or sdpa."


def _checked_layout(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    segments: Layout | Segments | None,
    options: dict[str, Any],
) -> Layout:
    where = type(module).__name__
    if segments is None:
        raise ModelError(
            f"{where} got no segments: the model drops keyword arguments on their way to attention, or it generates "
            f'while set up for packs (call set_attention(model, "{PLAIN}") first)'
        )
    if query.shape[0] != 1 or key.shape[2] != query.shape[2] or attention_mask is not None:
        raise ModelError(
            f"{where}: a pack is one row without cache or mask; got queries {tuple(query.shape)}, keys "
            f"{tuple(key.shape)}, mask {None if attention_mask is None else tuple(attention_mask.shape)}"
        )
    if dropout := options.get("dropout"):
        raise ModelError(f"{where} asks for attention dropout {dropout}; packs need 0")
    for name, what in (("softcap", "capped scores"), ("s_aux", "attention sinks"), ("position_bias", "a score bias")):
        if options.get(name) is not None:
            raise ModelError(f"{where} asks for {what} ({name}), which no back end here computes")
    if options.get("is_causal") is False or getattr(module, "is_causal", True) is False:
        raise ModelError(f"{where} is not causal")
    layout = segments if isinstance(segments, Layout) else Layout(segments, query.shape[2])
    num_tokens = query.shape[2] * (layout.group.size if layout.group else 1)
    if layout.num_tokens != num_tokens:
        raise ModelError(f"{where}: the segments describe {layout.num_tokens} tokens, the row has {num_tokens}")
    layout.calls += 1
    return layout


AttentionInterface.register(REFERENCE, attend_reference)
AttentionInterface.register(FLASH, attend_flash)
AttentionInterface.register(FLEX, attend_flex)
