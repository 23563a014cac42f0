"""Every setting of fcdist, typed and documented. The only source of defaults; `conf/` holds named deviations.

`Config` is one run; its groups are documented in the modules of this package and are imported from here.
No torch and no Hydra: login nodes and the data pipeline read these too.
"""

from dataclasses import dataclass, field

from fcdist.config.types.data import HUB, DataConfig, SourceConfig, SourceUse
from fcdist.config.types.generation import GenerateConfig
from fcdist.config.types.launching import LaunchConfig, SweepConfig
from fcdist.config.types.llm import BudgetConfig, JudgeConfig, PriceConfig
from fcdist.config.types.merging import MergeConfig
from fcdist.config.types.model import ALL_PROJECTIONS, AttentionConfig, ModelConfig, ProtocolConfig, TuningConfig
from fcdist.config.types.preflight import GpuName, PreflightConfig
from fcdist.config.types.replay import ReplayConfig
from fcdist.config.types.results import EvaluateConfig, ExportConfig
from fcdist.config.types.training import BatchConfig, LoggerConfig, OptimConfig, TrainConfig, ZeroConfig

__all__ = [
    "ALL_PROJECTIONS",
    "HUB",
    "AttentionConfig",
    "BatchConfig",
    "BudgetConfig",
    "Config",
    "DataConfig",
    "EvaluateConfig",
    "ExportConfig",
    "GenerateConfig",
    "GpuName",
    "JudgeConfig",
    "LaunchConfig",
    "LoggerConfig",
    "MergeConfig",
    "ModelConfig",
    "OptimConfig",
    "PreflightConfig",
    "PriceConfig",
    "ProtocolConfig",
    "ReplayConfig",
    "SourceConfig",
    "SourceUse",
    "SweepConfig",
    "TrainConfig",
    "TuningConfig",
    "ZeroConfig",
]


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
