"""Every setting of fcdist, typed and documented. The only source of defaults; `conf/` holds named deviations.

No torch and no Hydra here: login nodes and the data pipeline read these too.
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from fcdist.errors import ConfigError

TIME_LIMIT = re.compile(r"\d+:[0-5]?\d|\d+:[0-5]?\d:[0-5]?\d|\d+-\d+(:[0-5]?\d){0,2}")
"""Forms of a limit that Slurm reads; plain minutes are left out, which YAML would read as a number."""
ALL_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def require(condition: bool, message: str) -> None:
    """Raise ConfigError(message) unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


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
class AttentionConfig:
    """Attention back end over packs."""

    backend: Literal["auto", "sdpa", "flash", "flex"] = "auto"
    """`auto`: flash where it can run (CUDA in 16 bit; the CPU), else sdpa. flex (CUDA): sliding windows over shared
    prefixes without sdpa's gathered keys."""


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


GpuName = Literal[
    "a10", "a100-40", "a100-80", "b200", "h100", "h100-pcie", "h200", "l4", "l40s", "mi250x", "mi300x", "rtx4090"
]  # fmt: skip
"""See fcdist/training/estimates/hardware.py."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreflightConfig:
    """What `fcdist preflight` estimates for."""

    gpu: GpuName = "h100"
    """One on each rank."""
    mfu: float = 0.4
    """Share of the GPU's bf16 peak that the FLOPs of a step reach, recomputed ones included. Assumed, not measured."""

    def __post_init__(self) -> None:
        require(0 < self.mfu <= 1, f"preflight.mfu={self.mfu} must be above 0 and at most 1")


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


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchConfig:
    """Where programs run. What follows `env` is for Slurm; sizes, partitions and limits: docs/CLUSTERS.md."""

    backend: Literal["torchrun", "slurm"] = "torchrun"
    nodes: int = 1
    nproc_per_node: int = 1
    """Ranks on each node; on GPUs one each."""
    threads_per_rank: int = 0
    """OMP_NUM_THREADS of each rank; 0: cores / ranks."""
    rdzv_endpoint: str = ""
    """host:port for plain torchrun on several nodes; empty: --standalone."""
    env: dict[str, str] = field(default_factory=dict)
    partition: str = ""
    cpu_partition: str = ""
    """For jobs without a model (generate, merge, audit, prepare, export, report); empty: as `partition`."""
    account: str = ""
    qos: str = ""
    gpus_per_node: int = 0
    """Of training; jobs of one process with the model ask for one GPU if this is not 0."""
    cpus_per_task: int = 0
    """Of a node in training; 0: what the cluster gives."""
    time: str = "24:00:00"
    """Limit of every job: minutes:seconds, hours:minutes:seconds or days-hours[:minutes[:seconds]]."""
    cpu_time: str = ""
    """Limit of jobs without a model; empty: as `time`."""
    stop_before_s: int = 120
    """So long before the limit the ranks are told to save and stop. Slurm may say so up to a minute earlier."""
    constraint: str = ""
    requeue: bool = True
    """Queue training again after the time limit, preemption or the failure of a node."""
    retries: int = 2
    """How often a failed program is started again inside its job; for training, without a new checkpoint in between."""
    array_limit: int = 0
    """Shards written at the same time; 0: as many as the cluster gives."""
    setup: tuple[str, ...] = ()
    """Shell lines before the program (modules, virtual environments)."""
    container_image: str = ""
    """Image of pyxis/enroot: `srun --container-image`."""
    container_mounts: tuple[str, ...] = ()
    """SRC:DST[:FLAGS] of pyxis/enroot. The run folder, the weights and the working folder must be visible inside."""
    wrap: str = ""
    """Words before the program, for other containers: `apptainer exec --nv /images/fcdist.sif`."""
    python: str = ""
    """Interpreter on the nodes or in the image; empty: the one that submits."""
    sbatch_lines: tuple[str, ...] = ()
    """Extra `#SBATCH` arguments of jobs with the model, for example `--exclusive`."""
    cpu_sbatch_lines: tuple[str, ...] = ()
    """The same for jobs without a model, for example `--mem=64G`."""
    wait: bool = False
    """Follow the jobs until they end; the exit code is that of the first that failed. Ctrl-C leaves them running."""
    poll_s: float = 10.0
    """Pause between two looks at the queue."""

    def __post_init__(self) -> None:
        for key, least in {
            "nodes": 1, "nproc_per_node": 1, "threads_per_rank": 0, "gpus_per_node": 0, "cpus_per_task": 0,
            "stop_before_s": 0, "retries": 0, "array_limit": 0,
        }.items():  # fmt: skip
            value = getattr(self, key)
            require(value >= least, f"launch.{key}={value} must be at least {least}")
        require(self.poll_s > 0, f"launch.poll_s={self.poll_s} must be positive")
        for key in ("time", "cpu_time"):
            value = getattr(self, key)
            require(
                TIME_LIMIT.fullmatch(value) is not None or (key == "cpu_time" and not value),
                f"launch.{key}={value!r} is not a limit of Slurm: minutes:seconds, hours:minutes:seconds, "
                "days-hours, days-hours:minutes or days-hours:minutes:seconds",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggerConfig:
    """Sinks beside RUN/log/metrics.jsonl, which is always written."""

    tensorboard: bool = True
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "fcdist"
    entity: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepConfig:
    """A grid of training runs."""

    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Full key → values, for example {"tuning.r": [16, 32], "optim.lr": [1e-4, 2e-4], "data.general_ratio": [2, 3]}."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """One run, from data to report. Frozen to RUN/config.yaml."""

    name: str = "run"
    run_dir: str = "runs/run"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    data: DataConfig = field(default_factory=DataConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    zero: ZeroConfig = field(default_factory=ZeroConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    preflight: PreflightConfig = field(default_factory=PreflightConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
