"""`fcdist preflight` before the queue: what it estimates, and when it says no."""

import json
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "data"))
from stores import small_config

from fcdist import preflight, prepare
from fcdist.config.run_folder import write_config
from fcdist.config.types import PreflightConfig
from fcdist.schema.shards import MANIFEST, write_manifest

Disk = namedtuple("Disk", "total used free")


@pytest.fixture(autouse=True)
def plain_output(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def run(cfg, capsys):
    write_config(cfg, Path(cfg.run_dir))
    code = preflight.main([cfg.run_dir])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_source_is_shown_and_every_estimate_printed(tmp_path, capsys):
    cfg = replace(small_config(tmp_path), preflight=PreflightConfig(gpu="l4", mfu=0.3))
    code, out, _ = run(cfg, capsys)
    assert code == 0 and "NO " not in out
    assert "calls:\n" in out and "chats:\n" in out and out.count("⟦end:") >= 2
    for part in ("trained weights", "fp32 masters", "activations", "communication buckets", "assumed", "l4 has 22.0"):
        assert part in out
    assert "FLOPs in a step of all ranks" in out and "preflight.mfu=0.3 is assumed" in out
    assert "checkpoints: 1 of 0.00 GiB" in out and "host memory of a node" in out


def test_a_time_limit_that_cuts_the_run_is_told(tmp_path, capsys):
    cfg = small_config(tmp_path)
    _, whole, _ = run(replace(cfg, train=replace(cfg.train, max_minutes=600.0)), capsys)
    assert "train.max_minutes" not in whole
    _, cut, _ = run(replace(cfg, train=replace(cfg.train, max_minutes=1e-9)), capsys)
    assert "train.max_minutes=1e-09 leaves " in cut and "% of the steps" in cut


def test_a_run_that_does_not_fit_is_refused_with_what_fits(tmp_path, capsys):
    cfg = replace(small_config(tmp_path), preflight=PreflightConfig(gpu="l4"))
    large = replace(cfg, batch=replace(cfg.batch, seq_len=5_000_000, micro_batch_size=1))
    code, out, _ = run(large, capsys)
    assert code == 2 and "NO  estimated peak" in out and "the most is activations" in out
    assert "What fits: train.activation_checkpointing=true (" in out and "batch.seq_len=" in out


def test_ranks_that_cannot_share_the_heads_are_refused(tmp_path, capsys):
    cfg = small_config(tmp_path)
    batch = replace(cfg.batch, sequence_parallel=8)
    code, _, err = run(replace(cfg, batch=batch, launch=replace(cfg.launch, nproc_per_node=8)), capsys)
    assert code == 2 and "error: batch.sequence_parallel=8 does not divide the 4 attention heads" in err


def test_a_disk_without_room_for_the_checkpoints_is_refused(tmp_path, capsys, monkeypatch):
    cfg = small_config(tmp_path)
    write_config(cfg, Path(cfg.run_dir))
    assert prepare.main([cfg.run_dir]) == 0
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: Disk(10, 10, 1000))
    code, out, _ = run(cfg, capsys)
    assert code == 2 and "NO  1 checkpoints of" in out and "lower train.keep_last=2" in out


def test_a_changed_shard_is_found_by_its_manifest(tmp_path, capsys):
    cfg = small_config(tmp_path)
    shards = tmp_path / "shards"
    shards.mkdir()
    (tmp_path / "calls.jsonl").rename(shards / "00000.jsonl")
    write_manifest(shards, {"00000.jsonl": {"counts": {"single": 1}}})
    sources = {**cfg.data.sources, "calls": replace(cfg.data.sources["calls"], path=str(shards))}
    cfg = replace(cfg, data=replace(cfg.data, sources=sources))
    assert run(cfg, capsys)[0] == 0
    assert json.loads((shards / MANIFEST).read_text())["shards"]
    with (shards / "00000.jsonl").open("a") as file:
        file.write("\n")
    code, _, err = run(cfg, capsys)
    assert code == 2 and "00000.jsonl: sha256 differs" in err
    (shards / "00000.jsonl").unlink()
    code, _, err = run(cfg, capsys)
    assert code == 2 and "named in manifest.json but missing" in err.lower()
