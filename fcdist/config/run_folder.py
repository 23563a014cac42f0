"""Names inside a run folder, agreed by every room.

RUN/
  config.yaml            frozen settings of `train` and `pipeline`
  shards/function_call   generated training conversations
  shards/held_out        generated from domains never trained on
  shards/general         general chat
  merged/                what `merge` makes of shards: train/, validation/, exports/, data card
  audit/                 what `audit` found in data.sources: a folder a source with kept and rejected rows, report.json
  store/                 token store of `prepare`
  plans/                 plans of epochs, where the store is large
  log/                   metrics.jsonl, TensorBoard, W&B, rank logs
  checkpoints/step-*     resumable state
  failures/              packs of failed steps, stacks of ranks that hung
  export/{adapter,merged}
  evaluation/            results.json, report.html, answers of every row
"""

from pathlib import Path

import yaml

from fcdist.config.mapping import from_mapping, to_mapping
from fcdist.config.types import Config
from fcdist.errors import ConfigError
from fcdist.files import write_text

CONFIG_NAME = "config.yaml"
AUDIT_REPORT = "report.json"


def read_config(run_dir: Path, name: str = CONFIG_NAME) -> Config:
    """Read a frozen config. Raises ConfigError if it is absent or does not fit this version's settings."""
    path = run_dir / name
    if not path.is_file():
        raise ConfigError(f"{path}: no frozen config; start the run with `fcdist`, which writes it")
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    return from_mapping(Config, value)


def write_config(config: Config, run_dir: Path, name: str = CONFIG_NAME) -> Path:
    """Freeze `config` into the run folder, whole at once: other hosts may read it at the same time."""
    path = run_dir / name
    write_text(path, yaml.safe_dump(to_mapping(config), sort_keys=False, allow_unicode=True))
    return path


def function_call_dir(config: Config) -> Path:
    """Where `generate` writes, by split."""
    default = "function_call" if config.generate.split == "train" else "held_out"
    return Path(config.generate.out_dir or Path(config.run_dir, "shards", default))


def merged_dir(config: Config) -> Path:
    """Where `merge` writes."""
    return Path(config.merge.out_dir or Path(config.run_dir, "merged"))


def held_out_dir(config: Config) -> Path:
    """Held-out function-call shards that `evaluate` reads."""
    return Path(config.evaluate.suite or Path(config.run_dir, "shards", "held_out"))


def general_dir(config: Config) -> Path:
    """Where `generate generate.teacher=self` writes."""
    return Path(config.run_dir, "shards", "general")


def audit_dir(config: Config) -> Path:
    """Where `audit` writes."""
    return Path(config.run_dir, "audit")


def store_dir(config: Config) -> Path:
    """Token store."""
    return Path(config.data.store_dir or Path(config.run_dir, "store"))


def plans_dir(config: Config) -> Path:
    """Plans of epochs that are kept."""
    return Path(config.run_dir, "plans")


def checkpoints_dir(config: Config) -> Path:
    """Resumable state."""
    return Path(config.run_dir, "checkpoints")


def failures_dir(config: Config) -> Path:
    """What is kept of steps that failed."""
    return Path(config.run_dir, "failures")


def export_dir(config: Config) -> Path:
    """Adapter and merged weights."""
    return Path(config.export.out_dir or Path(config.run_dir, "export"))


def evaluation_dir(config: Config) -> Path:
    """Results and report."""
    return Path(config.run_dir, "evaluation")


def log_dir(config: Config) -> Path:
    """Metrics of the run."""
    return Path(config.run_dir, "log")
