"""Sources, and how they are mixed."""

from dataclasses import dataclass, field
from typing import Literal

from fcdist.config.types.checks import require

HUB = "hub:"
"""Begins the path of a source on the Hugging Face hub."""

SourceUse = Literal["auto", "train", "validation"]
"""See SourceConfig.use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceConfig:
    """One input of `prepare`."""

    path: str
    """A file (.jsonl, .json, .parquet), a folder of shards with a manifest, or hub:OWNER/NAME[/SUBSET][@REVISION]."""
    split: str = "train"
    """Of a data set on the hub."""
    format: Literal["openai", "sharegpt", "alpaca"] = "openai"
    role: Literal["function_call", "general"] = "function_call"
    """Which side of data.general_ratio its conversations count on."""
    use: SourceUse = "auto"
    """`validation`: none of its conversations is ever trained on, nor an equal one of another source. `train`: none
    validates. `auto`: data.validation_fraction of them validate."""
    on_error: Literal["error", "drop"] = "error"
    """What an invalid record does: stop with file and line, or be dropped, counted by reason, with the line kept."""
    ignore_fields: tuple[str, ...] = ()
    """Top-level fields of a record that may be left out."""
    max_conversations: int = 0
    """0: all; otherwise a seeded choice of this many, in file order."""

    @property
    def is_on_hub(self) -> bool:
        """Whether `path` names a data set instead of a file or folder."""
        return self.path.startswith(HUB)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """From sources to the token store."""

    sources: dict[str, SourceConfig] = field(default_factory=dict)
    """Name → source; the name is what reports count by."""
    general_ratio: float = 2.0
    """General : function-call, in `ratio_unit`; 0 keeps everything as it is."""
    ratio_unit: Literal["examples", "tokens"] = "examples"
    repeat: bool = False
    """True repeats the scarcer side to meet the ratio; False takes fewer of the other side."""
    over_length: Literal["error", "drop"] = "error"
    """An example longer than batch.seq_len: stop, or drop and count. It is never cut: the tail holds the calls."""
    general_tool_share: float = 0.0
    """Share of general conversations trained on under a tool prompt of the function-call data, which they do not need:
    it teaches to talk, not to call, when tools are at hand. Validation keeps general chat as it is."""
    tool_order: Literal["as_is", "sorted"] = "as_is"
    """`sorted`: tools of a conversation by name, so that the same set in another order has the same prompt. Serve it
    sorted too: the chat template writes the tools in the order that it gets."""
    store_dir: str = ""
    """Folder of the token store; empty: RUN/store."""
    validation_fraction: float = 0.0
    """Share of conversations per source kept out of training, for loss during training and retention; of sources with
    `use: auto` only."""
    num_workers: int = 1
    """Processes that render and tokenise; worth it from some thousand conversations on."""

    def __post_init__(self) -> None:
        require(self.general_ratio >= 0, f"data.general_ratio={self.general_ratio} must not be negative")
        require(
            0 <= self.general_tool_share <= 1,
            f"data.general_tool_share={self.general_tool_share} must be between 0 and 1",
        )
        require(
            0 <= self.validation_fraction < 1,
            f"data.validation_fraction={self.validation_fraction} must be at least 0 and below 1",
        )
