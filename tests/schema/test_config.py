"""Settings: strict reading, every rule with its key."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from fcdist.config import run_folder
from fcdist.config.mapping import from_mapping, to_mapping
from fcdist.config.seeds import derive_seed
from fcdist.config.types import (
    BatchConfig,
    Config,
    DataConfig,
    GenerateConfig,
    OptimConfig,
    SourceConfig,
    TrainConfig,
    TuningConfig,
)
from fcdist.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    number: int
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=lambda: Inner(number=1))
    stage: Literal[1, 2] = 1
    maybe: int | None = None
    names: tuple[str, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    parts: dict[str, Inner] = field(default_factory=dict)
    flag: bool = False
    free: Any = None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"config must be a mapping, got \[\]"),
        ({"stag": 1}, r"unknown key stag; did you mean stage\?"),
        ({"zzz": 1}, "unknown key zzz; known here: inner, stage"),
        ({3: 1}, "unknown key 3;"),
        ({"inner": {"numbr": 1}}, r"unknown key inner.numbr; did you mean inner.number\?"),
        ({"inner": {}}, "inner.number is required but not set"),
        ({"inner": 3}, "inner must be a mapping, got 3"),
        ({"inner": {"number": "3"}}, "inner.number must be int, got '3'"),
        ({"inner": {"number": 3.0}}, "inner.number must be int, got 3.0"),
        ({"inner": {"number": True}}, "inner.number must be int, got True"),
        ({"inner": {"number": 1, "rate": "fast"}}, "inner.rate must be float, got 'fast'"),
        ({"inner": {"number": 1, "rate": True}}, "inner.rate must be float, got True"),
        ({"stage": 3}, "stage=3 is not one of 1, 2"),
        ({"stage": True}, "stage=True is not one of 1, 2"),
        ({"names": "a"}, "names must be a list, got 'a'"),
        ({"names": ["a", 1]}, r"names\[1\] must be str, got 1"),
        ({"table": [1]}, r"table must be a mapping, got \[1\]"),
        ({"table": {"a": "x"}}, "table.a must be float, got 'x'"),
        ({"parts": {"p": {"number": 1, "rat": 1}}}, r"unknown key parts.p.rat; did you mean parts.p.rate\?"),
        ({"flag": 1}, "flag must be bool, got 1"),
        ({"maybe": "x"}, "maybe must be int, got 'x'"),
    ],
)
def test_wrong_settings(value, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, value)


def test_values_are_converted_without_loss():
    given = {
        "inner": {"number": 2, "rate": "1e-4"},
        "stage": 2,
        "maybe": None,
        "names": ["a", "b"],
        "table": {"x": 1},
        "parts": {"p": {"number": 3}},
        "free": [1, {"a": None}],
    }
    outer = from_mapping(Outer, given)
    assert outer.inner == Inner(number=2, rate=1e-4) and isinstance(outer.table["x"], float)
    assert outer.names == ("a", "b") and outer.parts == {"p": Inner(number=3)} and outer.free == [1, {"a": None}]
    assert from_mapping(Outer, to_mapping(outer)) == outer


def test_every_default_survives_freezing(tmp_path):
    config = Config(data=DataConfig(sources={"a": SourceConfig(path="x", ignore_fields=("y",))}), name="数据")
    run_folder.write_config(config, tmp_path / "new" / "run")
    assert run_folder.read_config(tmp_path / "new" / "run") == config


def test_absent_and_broken_frozen_config(tmp_path):
    with pytest.raises(ConfigError, match=r"config.yaml: no frozen config; start the run with `fcdist`"):
        run_folder.read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("a: [1\n")
    with pytest.raises(ConfigError, match=r"config.yaml: cannot be read as YAML"):
        run_folder.read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(ConfigError, match="config must be a mapping, got None"):
        run_folder.read_config(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GenerateConfig(num_conversations=0), "generate.num_conversations=0 must be positive"),
        (lambda: GenerateConfig(shard_size=0), "generate.shard_size=0 must be positive"),
        (lambda: GenerateConfig(shares={"single": 0.5}), "generate.shares must be non-negative and add up to 1"),
        (lambda: GenerateConfig(languages={}), "generate.languages must be non-negative and add up to 1"),
        (lambda: GenerateConfig(languages={"en": 1.5, "zh": -0.5}), "generate.languages must be non-negative"),
        (lambda: GenerateConfig(num_workers=0), "generate.num_workers=0 must be positive"),
        (lambda: GenerateConfig(max_concurrency=0), "generate.max_concurrency=0 must be positive"),
        (
            lambda: GenerateConfig(conversations_per_tool_set=0),
            "generate.conversations_per_tool_set=0 must be positive",
        ),
        (lambda: GenerateConfig(max_retries=-1), "generate.max_retries=-1 must not be negative"),
        (lambda: GenerateConfig(timeout_s=0), "generate.timeout_s=0 must be positive"),
        (lambda: DataConfig(general_ratio=-1), "data.general_ratio=-1 must not be negative"),
        (lambda: DataConfig(validation_fraction=1), "data.validation_fraction=1 must be at least 0 and below 1"),
        (lambda: BatchConfig(seq_len=0), "batch.seq_len=0 must be positive"),
        (lambda: BatchConfig(micro_batch_size=-1), "batch.micro_batch_size=-1 must be positive"),
        (lambda: TuningConfig(r=0), "tuning.r=0 must be positive"),
        (lambda: TuningConfig(dropout=1), "tuning.dropout=1 must be at least 0 and below 1"),
        (lambda: OptimConfig(lr=0), "optim.lr=0 must be positive"),
        (lambda: OptimConfig(betas=(0.9,)), r"optim.betas=\(0.9,\) must be two numbers"),
        (lambda: TrainConfig(epochs=0), "train.epochs=0 must be positive"),
    ],
)
def test_rules(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_accumulation_divides_or_names_the_nearest():
    batch = BatchConfig(global_batch_size=64, micro_batch_size=2)
    assert batch.accumulation_steps(4) == 8
    with pytest.raises(
        ConfigError, match=r"batch.global_batch_size=64 is not a multiple .* 2 x 3 = 6. Nearest above: 66"
    ):
        batch.accumulation_steps(3)


def test_folders_follow_the_settings():
    config = Config(run_dir="r")
    assert str(run_folder.function_call_dir(config)) == "r/shards/function_call"
    held_out = replace(config, generate=GenerateConfig(split="held_out"))
    assert run_folder.function_call_dir(held_out) == run_folder.held_out_dir(config)
    assert str(run_folder.function_call_dir(replace(config, generate=GenerateConfig(out_dir="o")))) == "o"


def test_seeds_are_fixed_and_apart():
    assert derive_seed(0, "packing", 1) == 2358563006549398709
    values = {derive_seed(seed, name, i) for seed in range(5) for name in ("a", "b") for i in range(20)}
    assert len(values) == 200 and all(0 <= value < 2**63 for value in values)
