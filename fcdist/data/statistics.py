"""What `prepare` and `preflight` report of a store: counts, lengths, packing, and what examples share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcdist.config.types import BatchConfig
from fcdist.data.balance import GlobalBatch, idle_share
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore

PERCENTILES = (50, 90, 99, 100)
SIMULATED_RANKS = (8, 64, 1024)
ENOUGH_GROUPS = 16
"""Distinct tool prompts in a step that make it as good as a random one: gradients of one tool set correlate."""


def describe_store(train: TokenStore, validation: TokenStore) -> dict[str, Any]:
    """Counts by source and category, lengths, target share, ratio and drops, as plain JSON values."""
    return {
        "fingerprint": train.fingerprint,
        "mix": train.facts["mix"],
        "dropped": train.facts["dropped"],
        "train": _describe_split(train),
        "validation": _describe_split(validation),
        "prefixes": describe_prefixes(train.lengths, train.prefix_lens, train.groups, train.common),
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


def describe_prefixes(
    lengths: np.ndarray, prefix_lens: np.ndarray, groups: np.ndarray, common: np.ndarray
) -> dict[str, Any]:
    """Prefix groups, and how many times fewer tokens there would be if whatever examples share stood once.

    Args:
        lengths: [N] tokens of each example.
        prefix_lens: [N] tokens before the first user turn; equal within a group.
        groups: [N] group of each.
        common: [N] tokens shared with the example one place before, in the order of their tokens.
    """
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    prefixes = np.asarray(prefix_lens)[first].astype(np.int64)
    total = int(np.sum(lengths))
    return {
        "groups": len(sizes),
        "largest": int(sizes.max(initial=0)),
        "prefix_tokens": int((sizes * prefixes).sum()),
        "reuse_factor_limit": total / (total - int(np.sum(common))) if total else 1.0,
    }


@dataclass(frozen=True, slots=True)
class PackingFacts:
    """What the plan of an epoch is worth."""

    num_packs: int
    num_steps: int
    empty_packs: int
    """Packs without examples in the last global batch."""
    fill: float
    """Unique tokens / (packs x seq_len)."""
    reuse_factor: float
    """Tokens of the examples / unique tokens."""
    targets_per_pack: float
    groups_per_step_min: int
    """Distinct tool prompts in a step; an example without one counts as one. The last step may be short: not counted,
    if there are others."""
    groups_per_step_mean: float
    groups: int
    """Distinct tool prompts in the data."""
    idle_share: float
    """Share of the time that ranks wait for others, by the cost model, on the ranks of the run."""
    idle_share_at: dict[str, float]
    """The same on other numbers of ranks, where the global batch divides."""

    @property
    def lacks_groups(self) -> bool:
        """Whether a step could hold enough distinct tool prompts, but does not."""
        return self.groups_per_step_min < min(ENOUGH_GROUPS, self.groups)


def describe_packing(
    store: TokenStore,
    batch: BatchConfig,
    seed: int,
    dp_world_size: int = 1,
    plan: Sequence[GlobalBatch] | None = None,
) -> PackingFacts:
    """Tell steps, fill, reuse, variety and balance of epoch 0 on `dp_world_size` ranks; of `plan`, if it is given."""
    plan = plan if plan is not None else plan_epoch(store, batch, seed, epoch=0)
    num_packs = sum(1 for step in plan for pack in step.packs if pack)
    unique = sum(step.num_unique_tokens for step in plan)
    has_prompt = np.asarray(store.prefix_lens) >= batch.min_shared_tokens
    groups = np.where(has_prompt, store.groups, -1 - np.arange(len(has_prompt)))
    whole = [step for step in plan if all(step.packs)] or plan
    variety = [len(np.unique(groups[[row for pack in step.packs for row in pack]])) for step in whole]
    simulated = [n for n in SIMULATED_RANKS if batch.global_batch_size % (batch.micro_batch_size * n) == 0]
    return PackingFacts(
        num_packs=num_packs,
        num_steps=len(plan),
        empty_packs=sum(len(step.packs) for step in plan) - num_packs,
        fill=unique / (num_packs * batch.seq_len),
        reuse_factor=sum(step.num_tokens for step in plan) / unique,
        targets_per_pack=sum(step.num_targets for step in plan) / num_packs,
        groups_per_step_min=min(variety),
        groups_per_step_mean=sum(variety) / len(variety),
        groups=len(np.unique(groups)),
        idle_share=idle_share(plan, batch.micro_batch_size, dp_world_size),
        idle_share_at={str(n): idle_share(plan, batch.micro_batch_size, n) for n in simulated},
    )
