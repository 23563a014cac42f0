"""Which model, how its tools and calls are written, which weights change, and what computes its attention."""

from dataclasses import dataclass
from typing import Literal

from fcdist.config.types.checks import require

ALL_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """Which checkpoint to start from."""

    path: str = "debug"
    """Hub name, local folder, `debug` (tiny random model, byte tokenizer), or with `package` a path inside it."""
    gguf_file: str = ""
    """File name of a GGUF below `path`; weights are dequantised on load."""
    package: str = ""
    """Installed Python package that ships the weights as files; `path` is then relative to it."""
    tokenizer: str = ""
    """Hub name or folder of the tokenizer, if not the checkpoint's own."""
    chat_template: str = ""
    """File with a Jinja chat template, if not the checkpoint's own."""
    revision: str = ""
    trust_remote_code: bool = False
    """Execute the Python files that come with the weights. Only for ones you have read or whose author you trust."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolConfig:
    """How tools, thoughts and calls are written."""

    name: str = "text"
    """A folder of fcdist/protocols: native, text, tagged."""
    thoughts: bool = True
    """False drops the thoughts of the training data before rendering."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningConfig:
    """Which weights change."""

    mode: Literal["lora", "full"] = "lora"
    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ALL_PROJECTIONS
    """Names of the linear layers that get an adapter."""

    def __post_init__(self) -> None:
        require(self.r > 0, f"tuning.r={self.r} must be positive")
        require(0 <= self.dropout < 1, f"tuning.dropout={self.dropout} must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionConfig:
    """Attention back end over packs."""

    backend: Literal["auto", "sdpa", "flash", "flex"] = "auto"
    """`auto`: flash where it can run (CUDA in 16 bit; the CPU), else sdpa. flex (CUDA): sliding windows over shared
    prefixes without sdpa's gathered keys."""
