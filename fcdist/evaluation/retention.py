"""Does the model still talk as it did: loss on general chat that was kept out of training."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from fcdist.config.run_folder import store_dir
from fcdist.config.types import Config
from fcdist.data.store import TokenStore, open_store
from fcdist.data.tokenizing import Example, encoder, tokenize
from fcdist.errors import DataError, EvaluationError, RenderError
from fcdist.protocols.rendering import Renderer
from fcdist.schema.shards import read_shard, shard_paths

HEAD_ROWS = 512
"""Rows of logits turned to fp32 at once."""
Loss = dict[str, float | int]
T = TypeVar("T")


def retention_loss(cfg: Config, model: PreTrainedModel, renderer: Renderer) -> Loss | None:
    """Loss on the held-out general chat of a run.

    Args:
        cfg: `evaluate.retention` names shards or a file of general chat; empty: the general part of the token store's
            validation split. `evaluate.retention_limit` bounds the number of examples; 0: all.
        model: an HF decoder; its weights are left alone.
        renderer: how conversations are written for the model.

    Returns:
        See `mean_loss`; None where there is no general chat kept out of training.

    Raises:
        EvaluationError: the file named holds nothing to measure on, or a loss is not finite.
        ShardError: the file named cannot be read.
    """
    if cfg.evaluate.retention:
        examples = list(_examples(Path(cfg.evaluate.retention), renderer))
        if not examples:
            raise EvaluationError(f"evaluate.retention={cfg.evaluate.retention}: no conversation with an answer in it")
        return mean_loss(model, examples, cfg.evaluate.retention_limit)
    try:
        store = open_store(store_dir(cfg), split="validation")
    except DataError:  # evaluating before `prepare`, or on a machine without the store
        return None
    chat = [store.example(int(row)) for row in spread(general_rows(store), cfg.evaluate.retention_limit)]
    return mean_loss(model, chat) if chat else None


def mean_loss(model: PreTrainedModel, examples: Sequence[Example], limit: int = 0) -> Loss:
    """Mean cross-entropy per target token, each target of every example weighing the same.

    Args:
        model: an HF decoder whose forward takes `logits_to_keep`.
        examples: held-out examples.
        limit: examples used at most, evenly spread (the same ones for every model); 0: all.

    Returns:
        `loss` in nats per target, and `num_targets`.

    Raises:
        EvaluationError: no target, or a loss that is not finite.
    """
    total, num_targets, was_training = 0.0, 0, model.training
    model.train(False)
    try:
        for example in spread(examples, limit):
            loss, count = _example_loss(model, example)
            total, num_targets = total + loss, num_targets + count
    finally:
        model.train(was_training)
    if not num_targets:
        raise EvaluationError("retention: the general chat holds no target to measure on")
    if not np.isfinite(total):
        raise EvaluationError(f"retention: the loss on general chat is {total}; are the weights finite?")
    return {"loss": total / num_targets, "num_targets": num_targets}


def general_rows(store: TokenStore) -> list[int]:
    """Rows of a store on the general side."""
    return [int(row) for row in np.flatnonzero(store.is_general)]


def spread(items: Sequence[T], limit: int) -> list[T]:
    """At most `limit` items at even distances; all of them for 0."""
    if limit <= 0 or limit >= len(items):
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


@torch.inference_mode()
def _example_loss(model: PreTrainedModel, example: Example) -> tuple[float, int]:
    """Summed fp32 cross-entropy and number of targets of one example; only targets reach the head."""
    places = np.flatnonzero(np.asarray(example.kinds)[1:])  # the logits at t predict token t + 1
    if not len(places):
        return 0.0, 0
    ids = torch.from_numpy(np.asarray(example.input_ids).astype(np.int64)).to(model.device)
    index = torch.from_numpy(places).to(model.device)
    logits = model(input_ids=ids[None], logits_to_keep=index, use_cache=False).logits[0]
    targets = ids[index + 1]
    losses = [
        torch.nn.functional.cross_entropy(
            logits[i : i + HEAD_ROWS].float(), targets[i : i + HEAD_ROWS], reduction="sum"
        )
        for i in range(0, len(targets), HEAD_ROWS)
    ]
    return float(torch.stack(losses).double().sum()), len(places)


def _examples(path: Path, renderer: Renderer) -> Iterator[Example]:
    encode = encoder(renderer.tokenizer)
    for shard in shard_paths(path):
        for conversation in read_shard(shard):
            try:
                for segments in renderer.render(conversation):
                    yield tokenize(segments, encode)
            except RenderError as error:
                raise EvaluationError(f"{shard}, conversation {conversation.id or '?'}: {error}") from None
