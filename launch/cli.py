"""`fcdist VERB [KEY=VALUE ...]`: compose the config once, freeze it into the run folder, start the program."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from fcdist.config.continuing import fixed_differences
from fcdist.config.mapping import to_mapping
from fcdist.config.run_folder import CONFIG_NAME, read_config, write_config
from fcdist.config.types import Config, DataConfig
from fcdist.errors import ConfigError, FcdistError
from launch.cluster.running import run_on_cluster
from launch.cluster.submitting import in_the_queue
from launch.cluster.tasks import ON_THIS_MACHINE, plan_tasks, single_step
from launch.compose import compose, describe, recompose
from launch.jobs import MODULES, build_job, check_world, frozen_name
from launch.local import run_job
from launch.pipeline import plan_steps, run_pipeline
from launch.sweep import Member, plan_members, report_sweep, run_sweep, sweep_steps

VERBS = {
    "generate": "write function-call conversations (generate.teacher=programmatic|openai), or general chat (self)",
    "merge": "finished shards -> deduplicated, decontaminated, split data set with exports and data card",
    "audit": "gates over data.sources of any origin: a table of what is wrong, kept rows and rejects as shards",
    "prepare": "import, mix, tokenise: sources -> token store",
    "show": "print a pack in the terminal with roles, positions and the mask in colour",
    "preflight": "check config, data and plan without training",
    "train": "fine-tune (launch=torchrun|slurm)",
    "evaluate": "measure base and tuned model, free and with grammar",
    "export": "write adapter and merged weights",
    "report": "rebuild the HTML report",
    "pipeline": "all of the above in order",
    "sweep": "train every combination of sweep.grid",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console program. Returns the exit code."""
    arguments, options = _parse(sys.argv[1:] if argv is None else list(argv))
    try:
        return run_verb(arguments, options)
    except FcdistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run_verb(arguments: argparse.Namespace, options: tuple[str, ...]) -> int:
    """Compose, freeze and start one verb. Raises FcdistError for anything the user can mend."""
    verb, console = arguments.verb, Console()
    name = frozen_name(verb)
    config = _composed(arguments)
    if arguments.cfg:
        print(describe(config), end="")
        return 0
    if verb == "sweep":
        members = plan_members(config, arguments.overrides, compose)
        if config.launch.backend == "slurm":
            return _sweep_on_cluster(config, members, arguments.dry_run, console)
        if arguments.dry_run:
            for member in members:
                print(member.config.run_dir, member.values)
            return 0
        return run_sweep(config, members, run_job, console)
    if verb in ("train", "pipeline"):
        check_world(config)
    if config.launch.backend == "slurm" and verb == "pipeline":
        return run_on_cluster(
            config, plan_tasks(plan_steps(config)), partial(_freeze, config, name), console, arguments.dry_run
        )
    if config.launch.backend == "slurm" and verb not in ON_THIS_MACHINE:
        tasks = plan_tasks([single_step(verb, config)], options)
        return run_on_cluster(config, tasks, partial(_freeze, config, name), console, arguments.dry_run, again=True)
    if verb == "pipeline":
        if arguments.dry_run:
            for step in plan_steps(config):
                print(" ".join(build_job(step.verb, step.config, step.config_name).argv))
            return 0
        _freeze(config, name)
        return run_pipeline(config, run_job, console)
    job = build_job(verb, config, name, options)
    if arguments.dry_run:
        print(" ".join(job.argv))
        return 0
    _freeze(config, name)
    return run_job(job)


def _sweep_on_cluster(config: Config, members: Sequence[Member], dry_run: bool, console: Console) -> int:
    """All members beside each other; the table is printed when they are done."""
    tasks = plan_tasks(sweep_steps(config, members))
    code = run_on_cluster(config, tasks, lambda: None, console, dry_run)
    if not dry_run and (config.launch.wait or not in_the_queue(Path(config.run_dir))):
        report_sweep(config, members, console)
    return code


def _composed(arguments: argparse.Namespace) -> Config:
    if arguments.run is None:
        return compose(arguments.overrides)
    if arguments.verb in ("pipeline", "sweep"):
        raise ConfigError(f"--run does not go with {arguments.verb}; give the same overrides again to continue a run")
    return recompose(arguments.run, arguments.overrides, CONFIG_NAME)


_DATA = tuple(f"data.{key.name}" for key in dataclasses.fields(DataConfig) if key.name != "num_workers")
"""What decides the data of a run."""


def _freeze(config: Config, name: str) -> None:
    """Write the config into the run folder; a run that has begun keeps what decides its data, batches and weights."""
    folder = Path(config.run_dir)
    if name == CONFIG_NAME and (folder / name).is_file() and (folder / "checkpoints").is_dir():
        changed = fixed_differences(to_mapping(read_config(folder)), to_mapping(config), _DATA)
        if changed:
            raise ConfigError(
                f"{folder} holds a run begun with other settings ({'; '.join(changed[:5])}); "
                "choose another name=... or run_dir=..., or remove that folder"
            )
    write_config(config, folder, name)


def _parse(argv: list[str]) -> tuple[argparse.Namespace, tuple[str, ...]]:
    parser = argparse.ArgumentParser(
        prog="fcdist",
        description="Fine-tune open models for function calling.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="verbs:\n" + "\n".join(f"  {verb:10} {what}" for verb, what in VERBS.items())
        + "\n\nexample: fcdist train experiment=quickstart tuning.r=32 launch.nproc_per_node=8",
    )  # fmt: skip
    parser.add_argument("verb", choices=VERBS, metavar="VERB")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="Hydra overrides of conf/")
    parser.add_argument("--run", type=Path, help="start from the frozen config of this run folder")
    parser.add_argument("--dry-run", action="store_true", help="print what would be started or submitted")
    parser.add_argument("--cfg", action="store_true", help="print the composed config and stop")
    own, worker_options = _split_options(argv)
    arguments = parser.parse_intermixed_args(own)
    if worker_options and arguments.verb not in MODULES:
        parser.error(f"unknown option {worker_options[0]}")
    for item in arguments.overrides:
        if "=" not in item and not item.startswith("~"):
            parser.error(f"{item}: overrides are KEY=VALUE")
    return arguments, worker_options


def _split_options(argv: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Separate this program's arguments from options meant for the worker (`show --pack 3`)."""
    known = {"--run": True, "--dry-run": False, "--cfg": False, "--help": False}
    own: list[str] = []
    passed: list[str] = []
    target = own
    for item in argv:
        name = item.split("=")[0]
        if item.startswith("--"):
            target = own if name in known else passed
            target.append(item)
            if known.get(name) is False or "=" in item:
                target = own
            continue
        (own if "=" in item and target is passed else target).append(item)
        target = own
    return own, tuple(passed)


if __name__ == "__main__":
    raise SystemExit(main())
