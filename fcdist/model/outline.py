"""A model without its weights: every module and shape of the checkpoint, on torch's `meta` device."""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.adapters import clear_padding_row
from fcdist.model.attention import as_interface, unpackable
from fcdist.model.cascade import attend_cascade
from fcdist.model.debug import tiny_model
from fcdist.model.forest import Launch, Layout
from fcdist.model.weights import is_debug, loading, locate, quiet, remote_options

OUTLINE = "fcdist_outline"
"""Attention back end that computes nothing but shapes."""


def outline_model(cfg: ModelConfig, dtype: torch.dtype, num_layers: int = 0) -> PreTrainedModel:
    """The decoder of a checkpoint from its config alone, attending over packs, in eval mode, on `meta`.

    Args:
        cfg: which checkpoint.
        dtype: of the weights.
        num_layers: layers to build; 0: all.

    Raises:
        ModelError: the config cannot be found or read, or the model cannot attend over packs.
    """
    if is_debug(cfg):
        config = tiny_model().config
    else:
        source = locate(cfg)
        with quiet(), loading("model.path", source):
            config = AutoConfig.from_pretrained(source, **remote_options(cfg))
    if num_layers:
        _cut(config, num_layers)
    auto: Any = AutoModelForCausalLM
    with quiet(), loading("model.path", cfg.path), torch.device("meta"):
        model: PreTrainedModel = auto.from_config(config, dtype=dtype, trust_remote_code=cfg.trust_remote_code)
    clear_padding_row(model)
    if reason := unpackable(model):
        raise ModelError(f"{type(model).__name__} cannot be trained on packs: {reason}")
    model.set_attn_implementation(OUTLINE)
    model.train(False)
    return model


def _cut(config: PretrainedConfig, num_layers: int) -> None:
    text: Any = config.get_text_config()
    for name in ("layer_types", "layers_block_type"):
        if getattr(text, name, None):
            setattr(text, name, getattr(text, name)[:num_layers])
    text.num_hidden_layers = num_layers


class _ShapeKernel:
    """The buffers of a flash kernel, without its work."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, launch: Launch, scale: float, window: int | None
    ) -> tuple[Tensor, Tensor]:
        return torch.empty_like(query), query.new_empty(query.shape[1], query.shape[0], dtype=torch.float32)

    def backward(
        self,
        grad: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        output: Tensor,
        lse: Tensor,
        launch: Launch,
        scale: float,
        window: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@as_interface
def _attend_outline(
    layout: Layout, query: Tensor, key: Tensor, value: Tensor, scale: float | None, window: int | None
) -> Tensor:
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    return attend_cascade(_ShapeKernel(), layout, *rows, scale=1.0)[None]


AttentionInterface.register(OUTLINE, _attend_outline)
