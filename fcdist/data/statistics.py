"""What `prepare` and `preflight` report of a store: counts, lengths, packing, and what shared prefixes would save."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from fcdist.config.types import BatchConfig
from fcdist.data.planning import describe_plan, plan_epoch
from fcdist.data.store import TokenStore

PERCENTILES = (50, 90, 99, 100)
GROUP_CAP = 8
"""Examples that share one prefix at most: gradients of one tool set correlate (see the design)."""


def describe_store(train: TokenStore, validation: TokenStore) -> dict[str, Any]:
    """Counts by source and category, lengths, target share, ratio and drops, as plain JSON values."""
    return {
        "fingerprint": train.fingerprint,
        "mix": train.facts["mix"],
        "dropped": train.facts["dropped"],
        "train": _describe_split(train),
        "validation": _describe_split(validation),
        "prefixes": describe_prefixes(train.lengths, train.prefix_lens, train.groups),
    }


def _describe_split(store: TokenStore) -> dict[str, Any]:
    tokens, targets = int(store.lengths.sum()), int(store.num_targets.sum())
    percentiles = np.percentile(store.lengths, PERCENTILES, method="higher") if len(store) else [0] * len(PERCENTILES)
    return {
        "examples": len(store),
        "tokens": tokens,
        "targets": targets,
        "target_share": targets / tokens if tokens else 0.0,
        "length_percentiles": {str(p): int(value) for p, value in zip(PERCENTILES, percentiles, strict=True)},
        "sources": _count(store, store.source_names, store.sources),
        "categories": _count(store, store.category_names, store.categories),
    }


def _count(store: TokenStore, names: Sequence[str], codes: np.ndarray) -> dict[str, dict[str, int]]:
    counts = {}
    for code, name in enumerate(names):
        mask = codes == code
        if mask.any():
            counts[name] = {
                "examples": int(mask.sum()),
                "tokens": int(store.lengths[mask].sum()),
                "targets": int(store.num_targets[mask].sum()),
            }
    return counts


def describe_prefixes(lengths: np.ndarray, prefix_lens: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Prefix groups, and how many times fewer tokens a pack would hold if a group shared its prefix.

    Args:
        lengths: [N] tokens of each example.
        prefix_lens: [N] tokens before the first user turn; equal within a group.
        groups: [N] group of each.
    """
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    prefixes = np.asarray(prefix_lens)[first].astype(np.int64)
    total = int(np.sum(lengths))
    saved = int(((sizes - 1) * prefixes).sum())
    capped = int(((sizes - -(-sizes // GROUP_CAP)) * prefixes).sum())
    return {
        "groups": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "prefix_tokens": int((sizes * prefixes).sum()),
        "reuse_factor": total / (total - saved) if total else 1.0,
        f"reuse_factor_cap_{GROUP_CAP}": total / (total - capped) if total else 1.0,
    }


def describe_packing(store: TokenStore, batch: BatchConfig, seed: int, dp_world_size: int = 1) -> dict[str, Any]:
    """Plan epoch 0 and tell its steps, fill and balance on `dp_world_size` ranks."""
    plan = plan_epoch(store, batch, seed, epoch=0)
    return asdict(describe_plan(plan, store.lengths.tolist(), batch, dp_world_size))
