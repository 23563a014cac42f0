"""The whole path as a list of jobs: data → store → base rows → training → tuned rows → export → report."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from fcdist.config.run_folder import CONFIG_NAME, function_call_dir, general_dir, held_out_dir, write_config
from fcdist.config.types import Config
from launch.jobs import Job, build_job


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One job of the pipeline."""

    name: str
    title: str
    verb: str
    config: Config
    config_name: str = CONFIG_NAME
    after: tuple[str, ...] = ()
    """Names of the steps whose results it reads."""


def data_steps(config: Config) -> list[Step]:
    """Generation of those sources that the run writes itself."""
    steps = []
    sources = {str(Path(source.path)) for source in config.data.sources.values()}
    if str(function_call_dir(config)) in sources:
        steps.append(Step("function_call", "function-call conversations", "generate", config, "config.generate.yaml"))
    if str(general_dir(config)) in sources:
        replay = _with(config, generate=dataclasses.replace(config.generate, teacher="self"))
        steps.append(Step("general", "general chat", "generate", replay, "config.replay.yaml"))
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
    return [Step("held_out", "held-out suite", "generate", _with(config, generate=held_out), "config.held_out.yaml")]


def plan_steps(config: Config) -> list[Step]:
    """Steps that `config` asks for, each after those it needs. A step that runs again recognises what is finished."""
    suite, data = suite_steps(config), data_steps(config)
    prepare = Step("prepare", "token store", "prepare", config, after=_names(data))
    train = Step("train", "training", "train", config, after=("prepare",))
    base = _evaluation("evaluate_base", "evaluation before", config, (*_names(suite), "prepare"))
    tuned = _evaluation("evaluate_tuned", "evaluation after", config, (*_names(suite), *_names(base), "train"))
    export = Step("export", "export", "export", config, after=("train",))
    report = Step("report", "report", "report", config, after=(*(_names(tuned) or _names(base)), "train"))
    return [*suite, *data, prepare, *base, train, *tuned, export, report]


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


def _evaluation(name: str, title: str, config: Config, after: tuple[str, ...]) -> list[Step]:
    """The rows of the base model, or the others; none if evaluate.rows has none of them."""
    of_base = name == "evaluate_base"
    rows = tuple(row for row in config.evaluate.rows if row.startswith("base") == of_base)
    chosen = _with(config, evaluate=dataclasses.replace(config.evaluate, rows=rows))
    return [Step(name, title, "evaluate", chosen, f"config.{name}.yaml", after)] if rows else []


def _names(steps: Sequence[Step]) -> tuple[str, ...]:
    return tuple(step.name for step in steps)


def _with(config: Config, **changes: object) -> Config:
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
