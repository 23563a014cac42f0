"""What becomes of finished shards."""

from dataclasses import dataclass
from typing import Literal

from fcdist.config.types.checks import require


@dataclass(frozen=True, kw_only=True, slots=True)
class MergeConfig:
    """From finished shards to one data set: deduplicated, decontaminated, split, exported, described."""

    inputs: tuple[str, ...] = ()
    """Folders of shards or single files; the first of two duplicates stays. Empty: RUN/shards/function_call."""
    out_dir: str = ""
    """Empty: RUN/merged. Gets train/ and validation/ (shards for data.sources), what was removed, exports and card."""
    shard_size: int = 10_000
    validation_fraction: float = 0.02
    """Share kept out of training, at most; a tool set, contrast pair or likeness never stands on both sides."""
    similarity: float = 0.7
    """Jaccard similarity of delexicalised words that makes a near-duplicate; 0: only equal conversations count."""
    embedding_model: str = ""
    """Model of a server with OpenAI's `/embeddings`: paraphrases that share no words are near-duplicates too."""
    embedding_base_url: str = "http://127.0.0.1:8000/v1"
    embedding_api_key_env: str = "OPENAI_API_KEY"
    embedding_similarity: float = 0.95
    """Cosine that makes a near-duplicate, among conversations with as many calls in each turn; depends on the model."""
    decontaminate: tuple[str, ...] = ("bfcl",)
    """`bfcl` (the installed bfcl-eval) and files: what shares turns or tool signatures with them is taken out.
    `fcdist audit` refuses the same."""
    ngram: int = 13
    """Tokens in a row that count as overlap with a reference."""
    exports: tuple[Literal["openai", "sharegpt", "alpaca", "preference"], ...] = ()
    """Other layouts to write beside the shards."""
    card_samples: int = 8
    """Conversations the data card shows of each category and language, and refused ones of each reason."""
    licence: str = ""
    """Licence of the data set, as the card states it."""

    def __post_init__(self) -> None:
        for key in ("shard_size", "ngram"):
            require(getattr(self, key) > 0, f"merge.{key}={getattr(self, key)} must be positive")
        require(self.card_samples >= 0, f"merge.card_samples={self.card_samples} must not be negative")
        require(0 <= self.similarity <= 1, f"merge.similarity={self.similarity} must be between 0 and 1")
        require(
            0 < self.embedding_similarity <= 1,
            f"merge.embedding_similarity={self.embedding_similarity} must be above 0 and at most 1",
        )
        require(
            0 <= self.validation_fraction < 1,
            f"merge.validation_fraction={self.validation_fraction} must be at least 0 and below 1",
        )
