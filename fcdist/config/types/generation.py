"""The generator of function-call conversations."""

from dataclasses import dataclass, field
from typing import Any, Literal

from fcdist.config.types.checks import require
from fcdist.config.types.llm import BudgetConfig, JudgeConfig, PriceConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateConfig:
    """The synthetic-data generator (function-call rows)."""

    teacher: Literal["programmatic", "openai", "self"] = "programmatic"
    """`self` writes general chat with the model that will be tuned (see ReplayConfig)."""
    out_dir: str = ""
    """Folder of the shards; empty: RUN/shards/function_call (`self`: RUN/shards/general)."""
    catalogue: Any = ()
    """Whose tools the conversations are about; empty: the built-in ones. One entry or a list of: `builtin`; a file of
    OpenAI or MCP tools (.json, .jsonl), an OpenAPI 3 document (.json, .yaml) or Python functions (module.py,
    module.py:function, package.module:function); a folder of such files."""
    num_conversations: int = 2000
    shard_size: int = 500
    conversations_per_tool_set: int = 8
    languages: dict[str, float] = field(default_factory=lambda: {"en": 0.5, "zh": 0.5})
    """Share of each language."""
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "single": 0.20,
            "negative": 0.18,
            "slot_filling": 0.12,
            "nested": 0.09,
            "date": 0.09,
            "parallel": 0.08,
            "chain": 0.08,
            "follow_up": 0.08,
            "correction": 0.04,
            "recovery": 0.04,
        }
    )
    """Share of each category; met exactly (largest remainder)."""
    contrast: float = 0.1
    """Share of the negatives, and of the slot-filling conversations, that have a partner with the same words in which
    the tool is offered, or the value given; fewer where the tool sets leave no room."""
    disguise: float = 0.67
    """Share of tool sets that look like nobody's catalogue: names, parameters, units and formats of a made-up vendor.
    Your own tools (`catalogue`) always stay as they are."""
    large_tool_sets: float = 0.08
    """Share of tool sets with 10 to 40 tools, most of them distractors; the others have 1 to 8."""
    thoughts: bool = True
    """Write a short thought before each call and each decision not to call."""
    held_out_domains: tuple[str, ...] = ()
    """Domains never generated for training; `split=held_out` generates from them only."""
    split: Literal["train", "held_out"] = "train"
    num_workers: int = 1
    base_url: str = "http://127.0.0.1:8000/v1"
    """`openai` teacher: any OpenAI-compatible endpoint; the key comes from the variable named next."""
    api_key_env: str = "OPENAI_API_KEY"
    llm: str = ""
    """`openai` teacher: model name."""
    llm_mode: Literal["paraphrase", "free"] = "paraphrase"
    """`paraphrase`: new words for planned conversations; `free`: whole dialogues around planned calls and results."""
    temperature: float = 0.8
    max_tokens: int = 8192
    """Of one answer; what a request may cost is reckoned with it."""
    max_concurrency: int = 16
    """Requests in flight at most, over all local processes."""
    requests_per_minute: int = 0
    """0: no limit; like `tokens_per_minute` over all local processes."""
    tokens_per_minute: int = 0
    """Prompt and completion tokens."""
    max_retries: int = 6
    timeout_s: float = 120.0
    prices: PriceConfig = field(default_factory=PriceConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    batch_api: bool = False
    """Ask through the server's Batch API: half the price, an answer within a day, resumable."""
    batch_poll_s: float = 30.0
    """Pause between two looks at a batch."""

    def __post_init__(self) -> None:
        for key in (
            "num_conversations",
            "shard_size",
            "conversations_per_tool_set",
            "num_workers",
            "max_concurrency",
            "max_tokens",
            "timeout_s",
            "batch_poll_s",
        ):
            require(getattr(self, key) > 0, f"generate.{key}={getattr(self, key)} must be positive")
        for key in ("max_retries", "requests_per_minute", "tokens_per_minute"):
            require(getattr(self, key) >= 0, f"generate.{key}={getattr(self, key)} must not be negative")
        self._check_prices()
        given = self.catalogue or ()
        entries = (given,) if isinstance(given, str) else tuple(given)
        require(
            all(isinstance(entry, str) and entry for entry in entries),
            f"generate.catalogue must be one text or a list of texts, got {self.catalogue!r}",
        )
        object.__setattr__(self, "catalogue", entries)
        require(0 <= self.contrast <= 1, f"generate.contrast={self.contrast} must be between 0 and 1")
        for key in ("disguise", "large_tool_sets"):
            require(0 <= getattr(self, key) <= 1, f"generate.{key}={getattr(self, key)} must be between 0 and 1")
        for key in ("languages", "shares"):
            shares = getattr(self, key)
            require(
                bool(shares) and min(shares.values()) >= 0 and abs(sum(shares.values()) - 1) < 1e-6,
                f"generate.{key} must be non-negative and add up to 1, got {shares}",
            )

    @property
    def num_shards(self) -> int:
        """Files that the conversations are divided over."""
        return -(-self.num_conversations // self.shard_size)

    def _check_prices(self) -> None:
        """A budget in money without prices would never be used up."""
        if self.budget.money:
            unpriced = "generate.prices" if not self.prices.input + self.prices.output else ""
            if self.judge.llm and not self.judge.prices.input + self.judge.prices.output:
                unpriced = unpriced or "generate.judge.prices"
            require(
                not unpriced,
                f"generate.budget.money={self.budget.money:g} needs {unpriced} (input and output, per million tokens)",
            )
