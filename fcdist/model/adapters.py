"""Which weights change: LoRA adapters through peft, or all."""

import warnings
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from fcdist.config.types import TuningConfig
from fcdist.errors import ModelError


def apply_tuning(model: PreTrainedModel, cfg: TuningConfig, seed: int = 0) -> PreTrainedModel | PeftModel:
    """Mark the weights that train; `lora` adds an adapter to every target layer and freezes the rest.

    Adapters have the dtype of their layer: the engines keep fp32 masters of whatever trains, and DeepSpeed wants one
    dtype per model.

    Args:
        model: pretrained decoder; changed in place.
        cfg: mode, rank, scale, dropout and target names.
        seed: of the adapter's first weights, equal on every rank; the global random generator is left as it was.

    Raises:
        ModelError: a target names no linear layer; the message lists those there are.
    """
    if cfg.mode == "full":
        model.requires_grad_(True)
        return model
    check_targets(model, cfg.targets)
    alpha: Any = int(cfg.alpha) if cfg.alpha == int(cfg.alpha) else cfg.alpha  # servers may expect an integer
    lora = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=cfg.r,
        lora_alpha=alpha,
        lora_dropout=cfg.dropout,
        target_modules=list(cfg.targets),
        bias="none",
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft still asks transformers by a deprecated name
        torch.manual_seed(seed)
        adapted: PeftModel = get_peft_model(model, lora, autocast_adapter_dtype=False)
    return adapted


def check_targets(model: nn.Module, targets: tuple[str, ...]) -> None:
    """Raise ModelError unless every target names a linear layer (the last part of its name, or more of it)."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    known = sorted({name.rpartition(".")[2] for name in linear} - {"lm_head"})
    if not targets:
        raise ModelError(f"tuning.targets is empty; linear layers of {type(model).__name__}: {', '.join(known)}")
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            raise ModelError(
                f"tuning.targets names {target!r}, which {type(model).__name__} does not have; "
                f"its linear layers: {', '.join(known)}"
            )


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that train, by name; the names of `trainable.safetensors` in a checkpoint."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def whole_shape(parameter: torch.Tensor) -> torch.Size:
    """Shape of a parameter, also of one that ZeRO-3 has divided, which looks empty."""
    shape: torch.Size = getattr(parameter, "ds_shape", parameter.shape)
    return shape


def merge_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Fold the adapter into the base weights, in their dtype; a model without adapter is returned as it is.

    Merge in fp32 and cast afterwards: `cast_weights(merge_adapter(model), dtype)`.
    """
    if isinstance(model, PeftModel):
        merged: PreTrainedModel = model.merge_and_unload(safe_merge=False)
        return merged
    return model


def cast_weights(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Cast parameters in place; unlike `model.to(dtype)`, RoPE frequencies (buffers) stay fp32."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    model.config.dtype = dtype
    return model


def clear_padding_row(model: PreTrainedModel) -> None:
    """Let the embedding of the padding token learn like any other.

    Checkpoints often pad with their end-of-turn token, and torch gives the padding row of an embedding no gradient.
    """
    embedding: Any = model.get_input_embeddings()
    embedding.padding_idx = None


def enable_activation_checkpointing(model: PreTrainedModel | PeftModel) -> None:
    """Recompute each layer in the backward pass instead of keeping its activations; active in train mode only.

    Not reentrant: the reentrant kind loses the gradients of an adapter, because the layer's input needs none.

    Raises:
        ModelError: the model's class does not support it.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if not base.supports_gradient_checkpointing:
        raise ModelError(f"{type(base).__name__} does not support train.activation_checkpointing")
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
