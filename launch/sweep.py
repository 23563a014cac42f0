"""A grid of runs: data is generated once, then every combination of sweep.grid is prepared and trained."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fcdist.config.run_folder import CONFIG_NAME, write_config
from fcdist.config.types import Config
from fcdist.errors import ConfigError
from fcdist.files import write_text
from launch.jobs import Job, build_job
from launch.pipeline import Step, data_steps

MANIFEST = "sweep.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One run of a sweep."""

    config: Config
    values: dict[str, Any]


def plan_members(config: Config, overrides: Sequence[str], compose: Callable[[Sequence[str]], Config]) -> list[Member]:
    """All combinations, first key slowest. Folders are numbered: values belong in the manifest, not in paths.

    Raises:
        ConfigError: sweep.grid is empty, or a value does not fit its key.
    """
    grid = config.sweep.grid
    if not grid:
        raise ConfigError(
            "sweep.grid is empty; for example: 'sweep.grid={tuning.r: [16, 32], optim.lr: [1e-4, 2e-4]}' or sweep=lora"
        )
    members = []
    for number, combination in enumerate(itertools.product(*grid.values())):
        values = dict(zip(grid, combination, strict=True))
        chosen = [*overrides, *(f"{key}={value}" for key, value in values.items())]
        member = compose([*chosen, f"name={config.name}-{number:03d}", f"run_dir={config.run_dir}/{number:03d}"])
        logger = dataclasses.replace(member.logger, group=member.logger.group or config.name)
        # All members read what the sweep generated once.
        sources = {
            name: dataclasses.replace(source, path=config.data.sources[name].path)
            for name, source in member.data.sources.items()
        }
        data = dataclasses.replace(member.data, sources=sources)
        members.append(Member(dataclasses.replace(member, logger=logger, data=data), values))
    return members


def sweep_steps(config: Config, members: Sequence[Member]) -> list[Step]:
    """The sweep as steps for a cluster: data once, then every member's store and training beside each other."""
    steps = data_steps(config)
    data = tuple(step.name for step in steps)
    for number, member in enumerate(members):
        values = _describe(member.values)
        store, training = f"prepare_{number:03d}", f"train_{number:03d}"
        steps.append(Step(store, f"token store of {values}", "prepare", member.config, after=data))
        steps.append(Step(training, f"training of {values}", "train", member.config, after=(store,)))
    return steps


def run_sweep(config: Config, members: Sequence[Member], run: Callable[[Job], int], console: Console) -> int:
    """Prepare and train every member in turn; a finished member is not run again.

    Returns:
        0 if all members trained, else the exit code of the last failure (the others still ran).
    """
    for step in data_steps(config):
        console.rule(f"[bold]{step.title}[/bold]", align="left")
        write_config(step.config, Path(config.run_dir), step.config_name)
        if failed := run(build_job(step.verb, step.config, step.config_name)):
            return failed
    code = 0
    rows: list[dict[str, Any]] = []
    for number, member in enumerate(members):
        console.rule(f"[bold]{number + 1}/{len(members)}[/bold] {member.values}", align="left")
        folder = Path(member.config.run_dir)
        write_config(member.config, folder, CONFIG_NAME)
        failed = run(build_job("prepare", member.config)) or run(build_job("train", member.config))
        code = failed or code
        rows.append({"run_dir": member.config.run_dir, "values": member.values, "exit_code": failed, **_last(folder)})
        _write_manifest(config, rows)
    console.print(_table(rows))
    return code


def report_sweep(config: Config, members: Sequence[Member], console: Console) -> None:
    """Manifest and table of what members have logged so far."""
    rows = [
        {"run_dir": member.config.run_dir, "values": member.values, **_last(Path(member.config.run_dir))}
        for member in members
    ]
    _write_manifest(config, rows)
    console.print(_table(rows))


def _write_manifest(config: Config, rows: Sequence[dict[str, Any]]) -> None:
    write_text(Path(config.run_dir, MANIFEST), json.dumps(rows, indent=2) + "\n")


def _describe(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _last(folder: Path) -> dict[str, Any]:
    """Final training and validation loss from the run's metrics."""
    path, found = folder / "log" / "metrics.jsonl", {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            found.update({key: record[key] for key in ("loss", "validation/loss") if key in record})
    return found


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="sweep")
    for column in ("run", "values", "loss", "validation loss"):
        table.add_column(column)
    for row in sorted(rows, key=lambda row: row.get("validation/loss", float("inf"))):
        losses = [f"{row[key]:.4f}" if key in row else "-" for key in ("loss", "validation/loss")]
        table.add_row(Path(row["run_dir"]).name, _describe(row["values"]), *losses)
    return table
