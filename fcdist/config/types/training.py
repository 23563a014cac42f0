"""How a run trains: batches, optimizer, engine and sharding, the loop, and where it logs."""

from dataclasses import dataclass, fields
from typing import Literal

from fcdist.config.types.checks import require
from fcdist.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How many packs make one optimizer step."""

    seq_len: int = 8192
    """Unique tokens in one pack at most: what examples of a pack share counts once."""
    micro_batch_size: int = 1
    """Packs in one forward pass of one data-parallel rank (laid one after the other in one flat row)."""
    global_batch_size: int = 64
    """Packs in one optimizer step, over all ranks and micro-steps."""
    sequence_parallel: int = 1
    """Ranks that compute a pack together, each a stretch of its tokens and, inside attention, a share of the heads: for
    prompts beyond the memory of one GPU. It must divide the ranks of the run and the model's attention heads."""
    examples_per_prefix: int = 8
    """Examples that share one tool prompt in a pack at most; 1: nothing is shared."""
    min_shared_tokens: int = 32
    """Fewest tokens that are worth sharing; examples that agree on fewer are laid out apart."""
    token_cost: int = 6144
    """Work on one token outside attention, in attended pairs of tokens (query, key). By FLOPs it is about 3.4 times the
    model's width with LoRA and 5.1 times when all weights train, less where attention runs slower than matrix products:
    measured by `python -m benchmarks.cost_model`. Packs and ranks are levelled by it."""
    target_cost: int = 2048
    """Work on one target in the head, in attended pairs; measured by the same script."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            require(value > 0, f"batch.{entry.name}={value} must be positive")

    def plan_settings(self) -> dict[str, int]:
        """What decides which examples make which step; how a step is divided (`micro_batch_size`, `sequence_parallel`)
        does not."""
        names = [entry.name for entry in fields(self) if entry.name not in ("micro_batch_size", "sequence_parallel")]
        return {name: getattr(self, name) for name in names}

    @property
    def shared_stretch(self) -> int:
        """Tokens that examples of a pack must have in common to share them; 0: nothing is shared."""
        return self.min_shared_tokens if self.examples_per_prefix > 1 else 0

    def dp_world_size(self, world_size: int) -> int:
        """Groups of `sequence_parallel` ranks; each computes packs of its own. Raises ConfigError if a rank is left."""
        require(
            world_size % self.sequence_parallel == 0,
            f"batch.sequence_parallel={self.sequence_parallel} does not divide the {world_size} rank(s) of the run "
            "(launch.nodes x launch.nproc_per_node)",
        )
        return world_size // self.sequence_parallel

    def accumulation_steps(self, world_size: int) -> int:
        """Micro-steps one rank runs per optimizer step. Raises ConfigError if the batch or the ranks do not divide."""
        dp_world_size = self.dp_world_size(world_size)
        per_forward = self.micro_batch_size * dp_world_size
        if self.global_batch_size % per_forward:
            raise ConfigError(
                f"batch.global_batch_size={self.global_batch_size} is not a multiple of micro_batch_size x "
                f"dp_world_size = {self.micro_batch_size} x {dp_world_size} = {per_forward}. "
                f"Nearest above: {-(-self.global_batch_size // per_forward) * per_forward}."
            )
        return self.global_batch_size // per_forward


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimConfig:
    """AdamW with linear warm-up and a cosine or constant schedule."""

    lr: float = 2e-4
    betas: tuple[float, ...] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup_fraction: float = 0.05
    """Share of the steps over which the rate grows from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    min_lr_fraction: float = 0.1
    """Where the cosine ends, as a share of `lr`."""
    max_grad_norm: float = 1.0
    """Clip the global gradient norm to this; 0: no clipping."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr={self.lr} must be positive")
        require(len(self.betas) == 2, f"optim.betas={self.betas} must be two numbers")


@dataclass(frozen=True, kw_only=True, slots=True)
class ZeroConfig:
    """Engine and sharding."""

    engine: Literal["local", "deepspeed"] = "deepspeed"
    """`local`: plain torch, DDP with several ranks."""
    stage: Literal[1, 2, 3] = 2
    offload_optimizer: bool = False
    """Keep the optimizer's state in host memory."""
    bucket_size: int = 50_000_000
    """Elements in one communication bucket."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The training loop."""

    epochs: int = 1
    max_steps: int = 0
    """0: all steps of `epochs`."""
    max_minutes: float = 0.0
    """As many steps as fit into this time, by what one takes when the run begins; the schedule ends with them. Not
    counted: validation, saving, loading. 0: no limit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto`: bf16 where the hardware has instructions for it (GPUs from Ampere on, CPUs with AVX-512 BF16 or AMX),
    else fp32."""
    activation_checkpointing: bool = False
    log_every: int = 1
    eval_every: int = 0
    """0: only at the end."""
    save_every: int = 0
    """0: only at the end."""
    keep_last: int = 2
    """Checkpoints kept, newest first."""
    keep_every: int = 0
    """Checkpoints after a multiple of so many steps are kept for good, beside the last ones; 0: none."""
    async_save: bool = False
    """Write checkpoints while the next steps run, from a copy in host memory: 12 bytes a trainable parameter, divided
    by the ranks. The last one, and one before an early stop, are waited for."""
    timeout_s: float = 1800.0
    """A rank that does nothing for longer ends with its stacks and what every rank did last."""
    max_loss_rise: float = 3.0
    """Nats above the median of the last 50 steps at which a step's mean loss counts as exploded; 0: never."""
    max_skipped_steps: int = 0
    """Steps with a loss or gradient that is not finite, or with an exploded loss, that the whole run may leave out."""
    deterministic: bool = False

    def __post_init__(self) -> None:
        require(self.epochs > 0, f"train.epochs={self.epochs} must be positive")
        require(self.max_minutes >= 0, f"train.max_minutes={self.max_minutes} must not be negative")
        require(
            self.keep_last > 0, f"train.keep_last={self.keep_last} must be positive: a run resumes from the last one"
        )
        require(
            self.keep_every >= 0
            and (not self.keep_every or (self.save_every > 0 and not self.keep_every % self.save_every)),
            f"train.keep_every={self.keep_every} must be 0 or a multiple of train.save_every={self.save_every}, which "
            "says after which steps there is something to keep",
        )
        require(self.timeout_s > 0, f"train.timeout_s={self.timeout_s} must be positive")
        require(self.max_loss_rise >= 0, f"train.max_loss_rise={self.max_loss_rise} must not be negative")
        require(self.max_skipped_steps >= 0, f"train.max_skipped_steps={self.max_skipped_steps} must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggerConfig:
    """Sinks beside RUN/log/metrics.jsonl, which is always written."""

    tensorboard: bool = True
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "fcdist"
    entity: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
