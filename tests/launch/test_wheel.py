"""The wheel carries conf/ and slurm/ and works outside the checkout."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder / "site"


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli", *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_generates_and_renders_jobs_outside_the_checkout(installed: Path, tmp_path: Path):
    code = "import launch, fcdist, data_pipeline; print(launch.__file__, fcdist.__file__, data_pipeline.__file__)"
    places = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert all(place.startswith(str(installed)) for place in places)
    script = run(
        installed, tmp_path, "train", "launch=slurm", "experiment=debug", "batch.global_batch_size=16", "--dry-run"
    )
    assert script.startswith("#!/bin/bash")
    run(installed, tmp_path, "generate", "experiment=debug", "generate.num_conversations=8")
    assert (tmp_path / "runs/debug/shards/function_call/manifest.json").is_file()
