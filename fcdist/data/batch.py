"""The batch contract between planner, attention and loss.

One flat row of T tokens holds a forest of segments. A plain pack is a forest of roots; with shared prefixes a root is
a tool prompt and its children are the examples that continue it. A token attends to its own segment up to itself and
to all of its ancestors; positions continue from the parent. Targets are triples (position, token, weight), so that a
branch point may have several next tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor


class Kind(IntEnum):
    """What a token is for; every kind but CONTEXT is a target."""

    CONTEXT = 0
    THOUGHT = 1
    CALL = 2
    ANSWER = 3
    END = 4
    """End-of-turn token."""


@dataclass(frozen=True, slots=True)
class Segments:
    """A forest in depth-first order, so that every subtree is one contiguous range. Host memory, plain ints."""

    start: tuple[int, ...]
    """[S] first token of each segment in the row."""
    end: tuple[int, ...]
    """[S] one past its last token."""
    parent: tuple[int, ...]
    """[S] index of the parent segment; -1 for a root."""
    first_position: tuple[int, ...]
    """[S] position id of its first token: the number of tokens of all its ancestors."""

    def ancestors(self, segment: int) -> list[int]:
        """Ancestors of `segment`, root first."""
        chain: list[int] = []
        while (segment := self.parent[segment]) >= 0:
            chain.append(segment)
        return chain[::-1]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward pass of one rank computes: T tokens, M targets, S segments.

    Ranks that share a row (`batch.sequence_parallel`) hold equal stretches of it and the targets that these predict;
    the segments are those of the whole row.
    """

    input_ids: Tensor
    """[1, T] int64."""
    position_ids: Tensor
    """[1, T] int64; restarts at every root, continues from the parent in a branch."""
    segments: Segments
    target_index: Tensor
    """[M] int64: row index of the token whose hidden state predicts the target (the token before it)."""
    target_ids: Tensor
    """[M] int64."""
    target_weights: Tensor
    """[M] float32; 0 in a batch that only fills up a step."""
    target_kinds: Tensor
    """[M] int8, a Kind."""
    examples: tuple[int, ...] = ()
    """Rows of the token store in this batch, for error messages and per-source counts."""

    def to(self, device: torch.device) -> "Batch":
        """Copy the tensors to `device`."""
        return Batch(
            input_ids=self.input_ids.to(device, non_blocking=True),
            position_ids=self.position_ids.to(device, non_blocking=True),
            segments=self.segments,
            target_index=self.target_index.to(device, non_blocking=True),
            target_ids=self.target_ids.to(device, non_blocking=True),
            target_weights=self.target_weights.to(device, non_blocking=True),
            target_kinds=self.target_kinds.to(device, non_blocking=True),
            examples=self.examples,
        )


@dataclass(frozen=True, slots=True)
class StepBatches:
    """One rank's part of a global batch. Every rank has the same number of batches."""

    batches: tuple[Batch, ...]
    num_targets: float
    """Sum of target weights of the whole global batch, over all ranks and micro-steps."""
    num_tokens: int = 0
    """Tokens of the examples of the whole global batch."""
    num_unique_tokens: int = 0
    """Tokens computed for it: stretches that examples of a pack share count once."""
    source_counts: Mapping[str, int] = field(default_factory=dict)
    """Examples of the whole global batch by source."""
