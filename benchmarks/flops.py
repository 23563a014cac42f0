"""FLOPs of a training step over a forest of segments, for the limit that sharing could reach.

Forward and backward, LoRA: each linear layer runs forward and hands back the gradient of its input (2 x 2 FLOPs a
weight), its adapter also computes its own gradient (3 x 2); attention runs 2 products a pair of tokens forward and 5
backward; the head runs on targets alone and is frozen. Element-wise work is left out, so the limit is generous.
"""

from dataclasses import dataclass

from transformers import PretrainedConfig

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
        return self.linear + self.attention + self.head


@dataclass(frozen=True, slots=True)
class Shape:
    """What FLOPs depend on of a Llama-like decoder with LoRA on every linear layer."""

    layers: int
    width: int
    linear_weights: int
    """Weights of the linear layers of one layer."""
    adapter_weights: int
    """Weights of the adapters of one layer."""
    query_width: int
    vocabulary: int

    @classmethod
    def of(cls, config: PretrainedConfig, rank: int) -> "Shape":
        d, hidden = config.hidden_size, config.intermediate_size
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        sides = ((d, queries), (d, keys), (d, keys), (queries, d), (d, hidden), (d, hidden), (hidden, d))
        return cls(
            layers=config.num_hidden_layers,
            width=d,
            linear_weights=sum(a * b for a, b in sides),
            adapter_weights=sum(rank * (a + b) for a, b in sides),
            query_width=queries,
            vocabulary=config.vocab_size,
        )

    def cost(self, tokens: int, pairs: float, targets: int) -> Cost:
        """Forward and backward over `tokens`, with `pairs` attended pairs and `targets` rows at the head."""
        return Cost(
            linear=self.layers * tokens * (4.0 * self.linear_weights + 6.0 * self.adapter_weights),
            attention=self.layers * 3.5 * 4.0 * self.query_width * pairs,
            head=4.0 * targets * self.width * self.vocabulary,
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
