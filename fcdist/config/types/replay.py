"""How the model writes the general chat that it is tuned on besides."""

from dataclasses import dataclass

from fcdist.config.types.checks import require


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayConfig:
    """General chat written by the untuned model itself, so that tuning does not make it forget how to talk."""

    num_conversations: int = 1000
    """Kept conversations to write; sampling goes on until they are there or `max_minutes` have passed."""
    max_minutes: float = 0.0
    """0: no limit."""
    batch_size: int = 192
    max_user_tokens: int = 48
    max_answer_tokens: int = 96
    """An answer that has not ended by then is dropped, never cut."""
    temperature: float = 0.8
    top_p: float = 0.95
    opening_temperature: float = 1.5
    """Of the first token of a user turn, among its `top_p` likeliest: user turns of one model open alike."""
    brief_share: float = 0.85
    """Share of user turns that ask for a brief answer, which ends soon: most of what small models write does not."""
    second_turn_share: float = 0.1
    """Share of conversations the model is asked to carry on for a second exchange."""
    base_url: str = ""
    """OpenAI-compatible server with plain completions that serves the model; empty: its weights are loaded here."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the server's key, if it checks one."""
    llm: str = ""
    """The model's name at the server; empty: model.path."""
    max_concurrency: int = 64
    """Requests in flight at most."""

    def __post_init__(self) -> None:
        for key in (
            "num_conversations",
            "batch_size",
            "max_user_tokens",
            "max_answer_tokens",
            "opening_temperature",
            "max_concurrency",
        ):
            require(getattr(self, key) > 0, f"replay.{key}={getattr(self, key)} must be positive")
        for key in ("brief_share", "second_turn_share"):
            require(0 <= getattr(self, key) <= 1, f"replay.{key}={getattr(self, key)} must be between 0 and 1")
        require(0 < self.top_p <= 1, f"replay.top_p={self.top_p} must be above 0 and at most 1")
        require(self.temperature >= 0, f"replay.temperature={self.temperature} must not be negative")
        require(self.max_minutes >= 0, f"replay.max_minutes={self.max_minutes} must not be negative")
