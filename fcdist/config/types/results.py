"""What is measured, and what leaves the run folder."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """What is measured, before and after tuning."""

    suite: str = ""
    """Folder of held-out function-call shards; empty: RUN/shards/held_out."""
    suite_conversations: int = 200
    """Conversations `pipeline` generates for the suite."""
    suite_limit: int = 0
    """Items of the suite; 0: all."""
    bfcl_categories: tuple[str, ...] = ("simple_python", "multiple", "parallel", "irrelevance", "live_simple")
    bfcl_limit: int = 60
    """Items of each BFCL category; 0: all."""
    retention: str = ""
    """Shards or file of held-out general chat; empty: the general part of the store's validation split."""
    retention_limit: int = 64
    rows: tuple[str, ...] = ("base", "base_grammar", "tuned", "tuned_grammar")
    batch_size: int = 32
    max_new_tokens: int = 512
    """An answer that has not ended by then is cut: five parallel calls are 200 tokens and more."""
    seed: int = 0
    """Chooses the items where a limit cuts them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig:
    """What leaves the run folder."""

    adapter: bool = True
    merged: bool = True
    dtype: Literal["bf16", "fp32"] = "bf16"
    out_dir: str = ""
    """Empty: RUN/export."""
