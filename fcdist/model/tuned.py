"""The tuned model of a checkpoint: base weights plus `trainable.safetensors`."""

from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from fcdist.config.types import Config
from fcdist.errors import CheckpointError
from fcdist.model.adapters import apply_tuning, cast_weights, merge_adapter, trainable_parameters
from fcdist.model.attention import PLAIN
from fcdist.model.precision import dtype_of
from fcdist.model.weights import load_model

TRAINABLE = "trainable.safetensors"


def load_adapted(cfg: Config, trainable: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel | PeftModel:
    """Base and trained weights, adapter not merged.

    Args:
        cfg: model and tuning of the run.
        trainable: a checkpoint's `trainable.safetensors`, or the checkpoint folder.
        dtype: of the weights.

    Raises:
        CheckpointError: the file cannot be read, or its weights are not those that `cfg` trains.
        ModelError: the base model cannot be loaded.
    """
    path = trainable / TRAINABLE if trainable.is_dir() else trainable
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    model = apply_tuning(load_model(cfg.model, dtype, PLAIN), cfg.tuning)
    parameters = trainable_parameters(model)
    missing, unexpected = sorted(parameters.keys() - weights.keys()), sorted(weights.keys() - parameters.keys())
    if missing or unexpected:
        raise CheckpointError(
            f"{path} does not fit model.path={cfg.model.path!r} with tuning.mode={cfg.tuning.mode}: "
            f"{len(missing)} weights missing ({', '.join(missing[:2])}), "
            f"{len(unexpected)} unexpected ({', '.join(unexpected[:2])})"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if weights[name].shape != parameter.shape:
                raise CheckpointError(
                    f"{path}: {name} is {list(weights[name].shape)}, the model has {list(parameter.shape)}; "
                    "was tuning.r or the base model changed after training?"
                )
            parameter.copy_(weights[name])
    model.train(False)
    return model


def load_tuned(cfg: Config, trainable: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The tuned model as it is exported: adapter merged in fp32, then cast; attends by transformers' own `sdpa`.

    Args:
        cfg: model, tuning and `train.precision` of the run.
        trainable: a checkpoint's `trainable.safetensors`, or the checkpoint folder.
        dtype: of the result; None: `train.precision`.

    Raises:
        CheckpointError: as `load_adapted`.
        ModelError: as `load_adapted`.
    """
    return cast_weights(merge_adapter(load_adapted(cfg, trainable)), dtype or dtype_of(cfg))
