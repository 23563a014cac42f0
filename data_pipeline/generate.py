"""Write function-call conversations: `python -m data_pipeline.generate RUN [--config NAME] [--shard N | --merge]`.

Without options every unfinished shard is written by a local pool and the manifest is published. On a cluster, an array
job runs `--shard $SLURM_ARRAY_TASK_ID` and a last job `--merge`. Running any of it again repeats no finished shard.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data_pipeline.provenance import SETTINGS, claim_folder, config_hash, generation_settings
from data_pipeline.shard_worker import Check, Shard, flatten_yields, nest_yields, plan_shards, read_facts, write_shard
from data_pipeline.summary import print_summary
from data_pipeline.teachers import (
    AnswersPendingError,
    BudgetError,
    Teacher,
    TeacherFactory,
    Traffic,
    Usage,
    build_teacher,
    refuse_self,
)
from fcdist.config.entry import entry
from fcdist.config.run_folder import function_call_dir
from fcdist.config.types import Config, GenerateConfig
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import MANIFEST, write_manifest

Advance = Callable[[], None]


def check_gates(conversations: Sequence[Conversation]) -> Sequence[str | None]:
    """For each conversation the reason of the first gate that refuses it, None if all pass."""
    from data_pipeline.gates import GATES, first_failures

    reasons: Sequence[str | None] = first_failures(GATES, conversations)
    return reasons


def generate(
    config: Config,
    run_dir: Path,
    make_teacher: TeacherFactory = build_teacher,
    check: Check = check_gates,
    only_shard: int | None = None,
    merge_only: bool = False,
) -> dict[str, Any] | None:
    """Write the shards of `config.generate` that are not there yet, then the manifest.

    Args:
        config: frozen settings.
        run_dir: run folder; the default output folder lies in it.
        make_teacher: builds the teacher, in every worker process.
        check: the gates.
        only_shard: write this shard alone and no manifest.
        merge_only: write no shard, only the manifest.

    Returns:
        The facts of the whole that the manifest holds, None with `only_shard`.

    Raises:
        GenerationError: foreign folder, no such shard, shards missing at the merge, or the teacher cannot work.
    """
    refuse_self(config)
    settings = generation_settings(config)
    folder = function_call_dir(replace(config, run_dir=str(run_dir)))
    shards = plan_shards(folder, config.generate.num_conversations, config.generate.shard_size)
    if only_shard is not None and not 0 <= only_shard < len(shards):
        raise GenerationError(f"--shard {only_shard}: these settings make shards 0 to {len(shards) - 1}")
    claim_folder(folder, settings)
    if config.generate.catalogue:
        report_tools(folder, config)
    digest = config_hash(settings)
    traffic = Traffic()
    if not merge_only:
        wanted = shards if only_shard is None else [shards[only_shard]]
        remove_partials(folder, [shard.path.stem for shard in wanted])
        todo = [shard for shard in wanted if read_facts(shard, digest) is None]
        try:
            traffic = write_shards(todo, config, run_dir, make_teacher, check, digest, done=wanted_size(wanted, todo))
        except BudgetError as error:
            done = sum(read_facts(shard, digest) is not None for shard in wanted)
            raise BudgetError(f"{error}. {done} of {len(wanted)} shards are finished") from None
    if only_shard is not None:
        return None
    remove_partials(folder, [SETTINGS, MANIFEST])
    facts = merge(folder, shards, settings)
    print_summary(Console(), folder, facts, traffic)
    return facts


def report_tools(folder: Path, config: Config) -> None:
    """Write which of the user's tools are used (`tools.json` beside the shards), and say it in a line or two."""
    from data_pipeline.importers.load import describe_import

    for line in describe_import(config.generate, folder):
        print(line, flush=True)


def wanted_size(wanted: Sequence[Shard], todo: Sequence[Shard]) -> int:
    """Number of indices in the shards that are finished already."""
    return sum(shard.size for shard in wanted) - sum(shard.size for shard in todo)


def remove_partials(folder: Path, stems: Iterable[str]) -> None:
    """Delete what a killed run left of files whose names begin like this."""
    for stem in stems:
        for partial in folder.glob(f".{stem}.*.partial"):
            partial.unlink(missing_ok=True)


def write_shards(
    shards: Sequence[Shard],
    config: Config,
    run_dir: Path,
    make_teacher: TeacherFactory,
    check: Check,
    digest: str,
    done: int = 0,
) -> Traffic:
    """Write shards in this process, or in a pool of `generate.num_workers`; returns what was asked of a server."""
    if not shards:
        return Traffic()
    workers = min(config.generate.num_workers, len(shards))
    if config.generate.teacher == "openai":
        workers = 1 if config.generate.batch_api else min(workers, config.generate.max_concurrency)
        config = replace(config, generate=_share_of(config.generate, workers))
    teacher = make_teacher(config, run_dir)  # also with a pool: a missing key is reported before processes start
    if config.generate.teacher == "openai" and config.generate.batch_api:
        return _write_in_rounds(shards, teacher, check, digest)
    with _progress(done, done + sum(shard.size for shard in shards)) as advance:
        if workers == 1:
            for shard in shards:
                write_shard(shard, teacher, check, digest, advance)
            return teacher.traffic()
        return _write_in_pool(shards, config, run_dir, make_teacher, check, digest, workers, advance)


def _share_of(generate: GenerateConfig, workers: int) -> GenerateConfig:
    """Settings of one of `workers` processes: the limits of a server hold for all of them together."""
    return replace(
        generate,
        max_concurrency=generate.max_concurrency // workers,
        **{
            key: max(1, getattr(generate, key) // workers)
            for key in ("requests_per_minute", "tokens_per_minute")
            if getattr(generate, key)
        },
    )


def _write_in_rounds(shards: Sequence[Shard], teacher: Teacher, check: Check, digest: str) -> Traffic:
    """Write shards whose answers come in batches: what all of them lack is fetched together, round by round."""
    teacher.fetch()  # what an earlier run left under way
    waiting = list(shards)
    while waiting:
        postponed: list[Shard] = []
        for shard in waiting:
            try:
                write_shard(shard, teacher, check, digest)
            except AnswersPendingError:
                postponed.append(shard)
        if postponed:
            print(f"{len(shards) - len(postponed)} of {len(shards)} shards written", file=sys.stderr, flush=True)
            teacher.fetch()
        waiting = postponed
    return teacher.traffic()


_process: dict[str, Any] = {}
"""Teacher, gates and counter of this worker process, set once by `_start_worker`."""


def _start_worker(make_teacher: TeacherFactory, config: Config, run_dir: Path, check: Check, counter: Any) -> None:
    _process.update(teacher=make_teacher(config, run_dir), check=check, counter=counter)


def _work(shard: Shard, digest: str) -> tuple[int, Traffic]:
    def advance() -> None:
        with _process["counter"].get_lock():
            _process["counter"].value += 1

    write_shard(shard, _process["teacher"], _process["check"], digest, advance)
    return os.getpid(), _process["teacher"].traffic()


def _write_in_pool(
    shards: Sequence[Shard],
    config: Config,
    run_dir: Path,
    make_teacher: TeacherFactory,
    check: Check,
    digest: str,
    workers: int,
    advance: Advance,
) -> Traffic:
    context = get_context("spawn")  # the progress bar runs a thread; forking under it can deadlock
    counter = context.Value("q", 0)
    seen = 0
    traffic: dict[int, Traffic] = {}
    with ProcessPoolExecutor(workers, context, _start_worker, (make_teacher, config, run_dir, check, counter)) as pool:
        waiting: set[Future[tuple[int, Traffic]]] = {pool.submit(_work, shard, digest) for shard in shards}
        try:
            while waiting:
                finished, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in finished:
                    process, so_far = future.result()
                    traffic[process] = max(traffic.get(process, so_far), so_far, key=lambda t: t.requests + t.cached)
                for _ in range(counter.value - seen):
                    advance()
                    seen += 1
        except BrokenProcessPool:
            raise GenerationError(
                "a worker process died (killed, or out of memory: lower generate.num_workers or generate.shard_size); "
                "run again: finished shards are kept"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return sum(traffic.values(), Traffic())


@contextmanager
def _progress(done: int, total: int) -> Iterator[Advance]:
    columns = (
        TextColumn("generate"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("generate", total=total, completed=done)
        yield lambda: bar.advance(task)


def merge(folder: Path, shards: Sequence[Shard], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Publish the manifest over finished shards.

    Returns:
        Counts, yields and usage of the whole.

    Raises:
        GenerationError: a shard is not finished; the message names the ones to run.
    """
    digest = config_hash(settings)
    facts = {shard: read_facts(shard, digest) for shard in shards}
    if missing := [str(shard.number) for shard in shards if facts[shard] is None]:
        some = ", ".join(missing[:10]) + (" ..." if len(missing) > 10 else "")
        raise GenerationError(
            f"{folder}: {len(missing)} of {len(shards)} shards are not finished ({some}); "
            "run them with --shard N, or all of them without options, then merge"
        )
    complete = {shard.path.name: found for shard, found in facts.items() if found is not None}
    yields = sum((flatten_yields(found["yields"]) for found in complete.values()), Counter())
    whole = {
        "config_hash": digest,
        "settings": settings,
        "kept": sum(found["kept"] for found in complete.values()),
        "missing": sum(found["missing"] for found in complete.values()),
        "rejected": sum(found["rejected"] for found in complete.values()),
        "counts": dict(sum((Counter(found["counts"]) for found in complete.values()), Counter())),
        "languages": dict(sum((Counter(found["languages"]) for found in complete.values()), Counter())),
        "yields": nest_yields(yields),
        **{
            kind: {key: sum(found[kind][key] for found in complete.values()) for key in Usage.__dataclass_fields__}
            for kind in ("usage", "judge_usage")
        },
    }
    write_manifest(folder, complete, **whole)
    return whole


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--shard", type=int, help="write this shard only (array jobs)")
    choice.add_argument("--merge", action="store_true", help="write the manifest of shards that are all there")


def _body(config: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    generate(config, run_dir, only_shard=arguments.shard, merge_only=arguments.merge)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return entry("fcdist generate", _body, argv, _add_arguments)


if __name__ == "__main__":
    sys.exit(main())
