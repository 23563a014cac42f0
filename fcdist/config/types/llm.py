"""Language models that write or judge conversations: prices, a budget, the judge."""

from dataclasses import dataclass, field

from fcdist.config.types.checks import require


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceConfig:
    """What a language model costs: money per million tokens, in any one currency."""

    input: float = 0.0
    cached_input: float | None = None
    """Of prompt tokens that the server still had; empty: as `input`."""
    output: float = 0.0
    batch_factor: float = 0.5
    """Share of these prices that the Batch API charges."""

    def __post_init__(self) -> None:
        for key in ("input", "output", "batch_factor"):
            require(getattr(self, key) >= 0, f"prices: {key}={getattr(self, key)} must not be negative")
        require((self.cached_input or 0) >= 0, f"prices: cached_input={self.cached_input} must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetConfig:
    """What the language models of a run folder may cost altogether, reruns and the judge included; 0: no limit."""

    money: float = 0.0
    tokens: int = 0
    """Prompt and completion tokens together."""

    def __post_init__(self) -> None:
        for key in ("money", "tokens"):
            require(getattr(self, key) >= 0, f"generate.budget.{key}={getattr(self, key)} must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeConfig:
    """A language model that looks at what passed the gates and says keep or drop."""

    llm: str = ""
    """Model name; empty: no judge."""
    votes: int = 1
    """Opinions on each conversation, an odd number; the majority decides. More than one needs a temperature."""
    temperature: float = 0.0
    max_tokens: int = 4096
    base_url: str = ""
    """Empty: generate.base_url."""
    api_key_env: str = ""
    """Empty: generate.api_key_env."""
    prices: PriceConfig = field(default_factory=PriceConfig)

    def __post_init__(self) -> None:
        require(self.votes > 0 and self.votes % 2 == 1, f"generate.judge.votes={self.votes} must be an odd number")
        require(
            self.votes == 1 or self.temperature > 0,
            f"generate.judge.votes={self.votes}: with generate.judge.temperature=0 all votes would be one; raise it",
        )
        require(self.max_tokens > 0, f"generate.judge.max_tokens={self.max_tokens} must be positive")
