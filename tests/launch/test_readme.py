"""Every `fcdist` command of the README files and of the page on clusters composes and plans; nothing is started."""

import re
import shlex
from pathlib import Path

import pytest

from fcdist.config.run_folder import write_config
from launch import cli
from launch.compose import compose

ROOT = Path(__file__).resolve().parents[2]


def commands(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = (line.split(" #")[0].strip() for line in text.splitlines() if line.startswith("    fcdist "))
    return [re.sub(r"\s+", " ", line) for line in lines]


PAGES = ("README.md", "README.zh-CN.md", "docs/CLUSTERS.md")
COMMANDS = [(name, command) for name in PAGES for command in commands(name)]


def test_the_readmes_show_the_main_verbs():
    for name in ("README.md", "README.zh-CN.md"):
        shown = {command.split()[1] for command in commands(name)}
        assert shown >= {"pipeline", "prepare", "show", "preflight", "train", "evaluate", "export", "sweep"}


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(COMMANDS)])
def test_a_readme_command_plans(name: str, command: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun = compose(["model.path=Qwen/Qwen2.5-7B-Instruct", "protocol=native", "name=my_run"])
    write_config(begun, tmp_path / "runs/my_run")
    arguments = [a for a in shlex.split(command)[1:] if a != "--dry-run"]
    assert cli.main([*arguments, "--dry-run"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.strip()


def test_the_english_readme_stays_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
