"""FLOPs of forward and backward over a forest of segments, on unique tokens: what is shared counts once.

A linear layer runs 2 FLOPs a weight and token forward and as many for the gradient of its input; one that trains also
for its own gradient (Kaplan et al. 2020, arXiv:2001.08361; an adapter's layer stays frozen, Hu et al. 2021,
arXiv:2106.09685). Attention runs 2 products a pair of tokens forward and 5 backward (Dao et al. 2022,
arXiv:2205.14135). Checkpointing runs each layer's forward once more (Chen et al. 2016, arXiv:1604.06174). The head runs
on targets alone. Left out: element-wise work, and that torch ends a recomputation before a layer's last product.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from fcdist.data.batch import Batch, Segments


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOPs by what they are spent on."""

    linear: float
    attention: float
    head: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.linear + other.linear, self.attention + other.attention, self.head + other.head)

    @property
    def total(self) -> float:
        """All of them."""
        return self.linear + self.attention + self.head


@dataclass(frozen=True, slots=True)
class Shape:
    """What FLOPs depend on of a decoder."""

    layers: int
    query_width: int
    """Query heads times their width."""
    frozen_weights: int
    """Of the linear layers that do not train, over all layers, without the head."""
    trained_weights: int
    """Of those that do, adapters included."""
    head_weights: int
    head_trains: bool

    @classmethod
    def of(cls, model: nn.Module) -> "Shape":
        """Shape of a decoder, with or without adapters; which weights train is read off it."""
        base: Any = model
        base = base.get_base_model() if hasattr(base, "get_base_model") else base
        config = base.config.get_text_config()
        head = base.get_output_embeddings().weight
        weights = {
            id(module.weight): module.weight
            for module in model.modules()
            if isinstance(module, nn.Linear) and module.weight is not head
        }
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            query_width=config.num_attention_heads * width,
            frozen_weights=sum(w.numel() for w in weights.values() if not w.requires_grad),
            trained_weights=sum(w.numel() for w in weights.values() if w.requires_grad),
            head_weights=head.numel(),
            head_trains=head.requires_grad,
        )

    def cost(self, tokens: float, pairs: float, targets: float, checkpointing: bool = False) -> Cost:
        """Forward and backward.

        Args:
            tokens: unique tokens.
            pairs: attended pairs (query, key).
            targets: rows at the head.
            checkpointing: every layer runs its forward twice.
        """
        again = 2.0 if checkpointing else 0.0
        per_token = (4.0 + again) * self.frozen_weights + (6.0 + again) * self.trained_weights
        return Cost(
            linear=tokens * per_token,
            attention=self.layers * (7.0 + again) * 2.0 * self.query_width * pairs,
            head=(6.0 if self.head_trains else 4.0) * targets * self.head_weights,
        )

    def of_batch(self, batch: Batch) -> Cost:
        """What a batch costs as it is laid out."""
        return self.cost(batch.input_ids.shape[1], attended_pairs(batch.segments), len(batch.target_ids))

    def of_examples(self, lengths: list[int], targets: int) -> Cost:
        """What the same examples cost one by one."""
        return self.cost(sum(lengths), sum(n * (n + 1) / 2 for n in lengths), targets)


def attended_pairs(segments: Segments) -> float:
    """Pairs of tokens (query, key) of a forest: each token sees its ancestors and its own segment up to itself."""
    pairs = 0.0
    for begin, end, first in zip(segments.start, segments.end, segments.first_position, strict=True):
        length = end - begin
        pairs += length * first + length * (length + 1) / 2
    return pairs
