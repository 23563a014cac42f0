"""The program around the shards: arguments, errors, table."""

import json
import subprocess
import sys
import types
from dataclasses import asdict
from pathlib import Path

import pytest
from pipeline_fakes import FakePlanner, fake_check
from rich.console import Console

from data_pipeline import generate as program
from data_pipeline.summary import print_summary
from data_pipeline.teachers import Traffic, Usage
from fcdist.config.run_folder import write_config
from fcdist.config.types import Config, GenerateConfig
from fcdist.schema.shards import read_shard, shard_paths


@pytest.fixture
def small_catalogue(monkeypatch):
    """The fake planner and gate in the place of the real ones."""
    planner, gates = types.ModuleType("programmatic"), types.ModuleType("gates")
    planner.ProgrammaticTeacher = lambda config, seed: FakePlanner(seed)
    gates.GATES, gates.first_failures = (fake_check,), lambda gates, conversations: gates[0](conversations)
    monkeypatch.setitem(sys.modules, "data_pipeline.programmatic", planner)
    monkeypatch.setitem(sys.modules, "data_pipeline.gates", gates)


def freeze(folder, name="config.yaml", **changes):
    settings = {"num_conversations": 20, "shard_size": 8, **changes}
    write_config(Config(run_dir="/elsewhere", generate=GenerateConfig(**settings)), folder, name)


def test_whole_run_ends_with_table_and_manifest(small_catalogue, tmp_path, capsys):
    freeze(tmp_path)
    assert program.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "20 conversations" in out and "flawed 2" in out and "languages: en 20" in out
    assert len(shard_paths(tmp_path / "shards" / "function_call")) == 3


def test_named_config_and_held_out_folder(small_catalogue, tmp_path):
    freeze(tmp_path, "config.generate.yaml", split="held_out", num_conversations=5)
    assert program.main([str(tmp_path), "--config", "config.generate.yaml"]) == 0
    (path,) = shard_paths(tmp_path / "shards" / "held_out")
    assert len(list(read_shard(path))) == 5


def test_array_job_then_merge(small_catalogue, tmp_path, capsys):
    freeze(tmp_path)
    folder = tmp_path / "shards" / "function_call"
    for shard in range(3):
        assert program.main([str(tmp_path), "--merge"]) == 2
        assert f"{3 - shard} of 3 shards are not finished" in capsys.readouterr().err
        assert program.main([str(tmp_path), "--shard", str(shard)]) == 0
    assert not (folder / "manifest.json").exists()
    assert program.main([str(tmp_path), "--merge"]) == 0
    assert json.loads((folder / "manifest.json").read_text())["kept"] == 20


def test_out_dir_is_used(small_catalogue, tmp_path):
    freeze(tmp_path / "run", out_dir=str(tmp_path / "data"))
    assert program.main([str(tmp_path / "run")]) == 0
    assert len(shard_paths(tmp_path / "data")) == 3


def test_self_teacher_names_the_other_program(tmp_path, capsys):
    freeze(tmp_path, teacher="self")
    assert program.main([str(tmp_path)]) == 2
    assert "`python -m fcdist.replay RUN`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "config.yaml"]


def test_openai_teacher_without_key_is_a_clear_error(small_catalogue, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WORDS_KEY", raising=False)
    freeze(tmp_path, teacher="openai", llm="words-1", api_key_env="WORDS_KEY")
    assert program.main([str(tmp_path)]) == 2
    assert "error: generate.api_key_env=WORDS_KEY: this environment variable is not set" in capsys.readouterr().err


def test_shard_and_merge_exclude_each_other(tmp_path):
    with pytest.raises(SystemExit):
        program.main([str(tmp_path), "--shard", "0", "--merge"])


def test_table_reports_missing_and_cost(tmp_path, capsys):
    facts = {
        "kept": 1200,
        "rejected": 3,
        "missing": 7,
        "languages": {"en": 600, "zh": 600},
        "usage": asdict(Usage(4, 5000, 70, 1000, 0.25)),
        "judge_usage": asdict(Usage(2, 600, 40)),
        "yields": {"openai": {"single": {"kept": 1200, "llm_refused": 3}}},
    }
    print_summary(Console(width=120), tmp_path, facts, Traffic(6, 2, 1, Usage(3, 4000, 60), 5))
    out = " ".join(capsys.readouterr().out.split())
    for part in ("1,200", "llm_refused 3", "7 conversations are missing", "4 answers, 5,000 prompt", "6 requests"):
        assert part in out
    assert "(1,000 cached) and 70 completion tokens, cost 0.2500" in out and "judge: 2 answers, 600 prompt" in out
    assert "(2 retries, 5 lost)" in out
    assert "billed 4,000 + 60 tokens" in out


def test_real_teacher_meets_the_quotas_from_any_number_of_processes(tmp_path):
    alone, pool = tmp_path / "alone", tmp_path / "pool"
    freeze(alone, num_conversations=100, shard_size=30)
    freeze(pool, num_conversations=100, shard_size=30, num_workers=2)
    assert program.main([str(alone)]) == 0
    command = [sys.executable, "-m", "data_pipeline.generate", str(pool)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL)
    folders = [folder / "shards" / "function_call" for folder in (alone, pool)]
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert first == second
    manifest = json.loads(first["manifest.json"])
    shares = GenerateConfig().shares
    assert manifest["counts"] == {category: round(100 * share) for category, share in shares.items()}
    assert manifest["languages"] == {"en": 50, "zh": 50}
    kept = [c for path in shard_paths(folders[0]) for c in read_shard(path)]
    assert len(kept) == 100 and program.check_gates(kept) == [None] * 100


def test_import_is_light():
    code = (
        "import sys, data_pipeline.generate;"
        "bad = {'torch', 'transformers', 'openai', 'datasets', 'hydra'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
