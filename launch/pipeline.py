"""The whole path as a list of jobs: data → store → base rows → training → tuned rows → export → report."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from fcdist.config.run_folder import CONFIG_NAME, function_call_dir, general_dir, held_out_dir, write_config
from fcdist.config.types import Config
from launch.jobs import Job, build_job


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One job of the pipeline."""

    title: str
    verb: str
    config: Config
    config_name: str


def data_steps(config: Config) -> list[Step]:
    """Generation of those sources that the run writes itself."""
    steps = []
    sources = {str(Path(source.path)) for source in config.data.sources.values()}
    if str(function_call_dir(config)) in sources:
        steps.append(Step("function-call conversations", "generate", config, "config.generate.yaml"))
    if str(general_dir(config)) in sources:
        replay = dataclasses.replace(config.generate, teacher="self")
        steps.append(Step("general chat", "generate", _with(config, generate=replay), "config.replay.yaml"))
    return steps


def suite_steps(config: Config) -> list[Step]:
    """Generation of the held-out suite, unless evaluate.suite names one."""
    if config.evaluate.suite:
        return []
    held_out = dataclasses.replace(
        config.generate,
        split="held_out",
        out_dir=str(held_out_dir(config)),
        num_conversations=config.evaluate.suite_conversations,
    )
    return [Step("held-out suite", "generate", _with(config, generate=held_out), "config.held_out.yaml")]


def plan_steps(config: Config) -> list[Step]:
    """Steps that `config` asks for. Each can be run again: what is finished is recognised and kept."""
    steps = [*suite_steps(config), *data_steps(config)]
    steps.append(Step("token store", "prepare", config, CONFIG_NAME))
    base = tuple(row for row in config.evaluate.rows if row.startswith("base"))
    tuned = tuple(row for row in config.evaluate.rows if not row.startswith("base"))
    if base:
        steps.append(_evaluation("evaluation before", base, config, "config.evaluate_base.yaml"))
    steps.append(Step("training", "train", config, CONFIG_NAME))
    if tuned:
        steps.append(_evaluation("evaluation after", tuned, config, "config.evaluate_tuned.yaml"))
    steps.append(Step("export", "export", config, CONFIG_NAME))
    steps.append(Step("report", "report", config, CONFIG_NAME))
    return steps


def run_pipeline(config: Config, run: Callable[[Job], int], console: Console) -> int:
    """Run every step in order and stop at the first that fails.

    Returns:
        Exit code of the failed step, or 0.
    """
    started = time.monotonic()
    steps = plan_steps(config)
    for number, step in enumerate(steps, 1):
        minutes = (time.monotonic() - started) / 60
        console.rule(f"[bold]{number}/{len(steps)} {step.title}[/bold]  ({minutes:.1f} min so far)", align="left")
        write_config(step.config, Path(config.run_dir), step.config_name)
        if code := run(build_job(step.verb, step.config, step.config_name)):
            console.print(
                f"[red]step {number} ({step.title}) ended with exit code {code}.[/red] "
                "Run the same command again to go on from here."
            )
            return code
    console.print(f"done in {(time.monotonic() - started) / 60:.1f} min; everything is in {config.run_dir}")
    return 0


def _evaluation(title: str, rows: tuple[str, ...], config: Config, name: str) -> Step:
    return Step(title, "evaluate", _with(config, evaluate=dataclasses.replace(config.evaluate, rows=rows)), name)


def _with(config: Config, **changes: object) -> Config:
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
