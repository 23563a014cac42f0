"""Training that is killed at random moments and started again until it is done, against training that was left alone.

    python -m benchmarks.kill_resume [--kills 200] [--seed 0]

Runs of the debug model, 12 steps with a checkpoint after each, in the ways of `WAYS` by turns. `kill -9` takes
all ranks at once, or one of them and the others a moment later. After each kill the run folder must hold a checkpoint
that is whole, or none yet; at the end the log must hold each step once, with the packs and losses of the run left alone
bit for bit, and the last checkpoint the same weights.
"""

import argparse
import json
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from fcdist.config.run_folder import write_config
from fcdist.config.types import (
    BatchConfig,
    Config,
    DataConfig,
    LoggerConfig,
    ModelConfig,
    OptimConfig,
    SourceConfig,
    TrainConfig,
    TuningConfig,
    ZeroConfig,
)
from fcdist.data.store import build_store
from fcdist.model.debug import debug_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation, Message
from fcdist.train import main as train
from fcdist.training.checkpoints.finding import checkpoints_by_step, find_damage, newest_checkpoint
from fcdist.training.checkpoints.publishing import TRAINABLE

NUM_STEPS = 12
MAX_WAIT_S = 600
"""For a run that must end by itself."""
COMPARED = ("step", "epoch", "loss", "grad_norm", "lr", "num_targets", "tokens", "unique_tokens", "examples/chats")


@dataclass(frozen=True)
class Way:
    """How a run is divided and saved."""

    engine: str
    num_ranks: int
    async_save: bool

    def __str__(self) -> str:
        return f"{self.engine}, {self.num_ranks} rank(s), {'background' if self.async_save else 'waiting'} saves"


WAYS = (Way("local", 1, False), Way("local", 2, True), Way("deepspeed", 2, False), Way("local", 1, True))


@dataclass
class Outcome:
    """What happened to one run."""

    kills: int = 0
    at_steps: Counter[int] = field(default_factory=Counter)
    """Newest complete step at each kill; 0: none yet."""


def prepare(folder: Path) -> Config:
    """Settings of a run of the debug model, with the token store of 40 short conversations."""
    rows = [Conversation((Message("user", f"To {i}?"), Message("assistant", "." * (i % 7 + 2)))) for i in range(1, 41)]
    data = folder / "chats.jsonl"
    data.write_text("".join(json.dumps(row.to_wire()) + "\n" for row in rows))
    cfg = Config(
        run_dir=str(folder / "run"),
        model=ModelConfig(path="debug"),
        data=DataConfig(
            sources={"chats": SourceConfig(path=str(data))}, general_ratio=0.0, store_dir=str(folder / "store")
        ),
        batch=BatchConfig(seq_len=512, global_batch_size=2),
        tuning=TuningConfig(r=4, dropout=0.1),
        optim=OptimConfig(lr=1e-2),
        train=TrainConfig(max_steps=NUM_STEPS, save_every=1, keep_last=2, timeout_s=MAX_WAIT_S),
        logger=LoggerConfig(tensorboard=False),
    )
    build_store(cfg, Renderer(debug_tokenizer(), load_protocol("text")))
    return cfg


def configured(cfg: Config, way: Way, run_dir: Path) -> Config:
    """The run's settings in one of the ways, frozen to its folder."""
    zero = ZeroConfig(engine=way.engine, stage=2, bucket_size=100_000)  # type: ignore[arg-type]
    own = replace(cfg, run_dir=str(run_dir), zero=zero, train=replace(cfg.train, async_save=way.async_save))
    write_config(own, run_dir)
    return own


def start(run_dir: Path, num_ranks: int) -> list[int]:
    """Fork the ranks of a run, so that imports are paid once; their process ids."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(num_ranks):
        child = os.fork()
        if child == 0:
            _run_rank(run_dir, rank, num_ranks, port)
        children.append(child)
    return children


def _run_rank(run_dir: Path, rank: int, num_ranks: int, port: int) -> None:
    code = 1
    try:
        with (run_dir / f"output-{rank}.txt").open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stderr = sys.__stderr__
        torch.set_num_threads(1)
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(num_ranks))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
        code = train([str(run_dir)])
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def wait(children: list[int], seconds: float, until: Callable[[], bool] = lambda: False) -> list[int] | None:
    """Exit codes of all ranks, or None if one still runs after so many seconds or when `until` says so."""
    deadline = time.monotonic() + seconds
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        for child in children:
            done, status = (child, 0) if child in codes else os.waitpid(child, os.WNOHANG)
            if done and child not in codes:
                codes[child] = os.waitstatus_to_exitcode(status)
        if len(codes) < len(children) and (time.monotonic() > deadline or until()):
            children[:] = [child for child in children if child not in codes]
            return None
        time.sleep(0.002)
    return list(codes.values())


def kill(children: list[int], chance: random.Random) -> None:
    """`kill -9`: all at once, or one first and the others while they notice."""
    chance.shuffle(children)
    apart = chance.random() < 0.5
    for i, child in enumerate(children):
        if i == 1 and apart:
            time.sleep(chance.uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)


def finish(run_dir: Path, num_ranks: int) -> float:
    """Run to the end without a kill; seconds."""
    began = time.monotonic()
    codes = wait(start(run_dir, num_ranks), MAX_WAIT_S)
    if codes is None or any(codes):
        raise SystemExit(f"{run_dir} does not run to its end: {codes}\n{_output(run_dir)}")
    return time.monotonic() - began


def kill_until_done(run_dir: Path, num_ranks: int, typical_s: float, max_kills: int, chance: random.Random) -> Outcome:
    """Start and kill a run until it ends by itself, or undisturbed after `max_kills`."""
    outcome = Outcome()
    while outcome.kills < max_kills:
        children = start(run_dir, num_ranks)
        codes = _wait_for_moment(children, run_dir, typical_s, chance)
        if codes is not None:
            if any(codes):
                raise SystemExit(f"{run_dir} is unusable after {outcome.kills} kills: {codes}\n{_output(run_dir)}")
            return outcome
        kill(children, chance)
        outcome.kills += 1
        outcome.at_steps[_newest_step(run_dir)] += 1
    finish(run_dir, num_ranks)
    return outcome


def _wait_for_moment(children: list[int], run_dir: Path, typical_s: float, chance: random.Random) -> list[int] | None:
    """Wait until a random moment of what is left of the run; exit codes if it ended before.

    Drawn by progress: by time alone most kills meet the start of a run where a machine is busier than it was for the
    run left alone.
    """

    def published() -> int:
        return next(iter(checkpoints_by_step(run_dir / "checkpoints")), 0)

    begun = published()
    step = chance.randint(begun, max(begun, NUM_STEPS - 1))  # the last checkpoint may be there and the end not
    if step > begun:
        codes = wait(children, MAX_WAIT_S, lambda: published() >= step)
        if codes is not None:
            return codes
    return wait(children, chance.uniform(0, typical_s if step == begun else typical_s / NUM_STEPS))


def _newest_step(run_dir: Path) -> int:
    """Step of the newest complete checkpoint. Under its final name a checkpoint must be whole."""
    for step, path in checkpoints_by_step(run_dir / "checkpoints").items():
        if problem := find_damage(path):
            raise SystemExit(f"{path} was published but is not whole: {problem}")
        return step
    return 0


def compare(run_dir: Path, reference: Path) -> None:
    """End the program if a run lost, repeated or changed anything against the one left alone."""
    expected, found = _log(reference), _log(run_dir)
    if found != expected:
        odd = next((pair for pair in zip(found, expected, strict=False) if pair[0] != pair[1]), (len(found), NUM_STEPS))
        raise SystemExit(f"{run_dir}: the log differs from an uninterrupted run: {odd}")
    weights = [newest_checkpoint(folder / "checkpoints") for folder in (run_dir, reference)]
    if any(w is None or w.name != f"step-{NUM_STEPS:06d}" for w in weights):
        raise SystemExit(f"{run_dir}: the last checkpoint is {weights[0]}")
    if len({(w / TRAINABLE).read_bytes() for w in weights if w}) != 1:
        raise SystemExit(f"{run_dir}: the weights differ from those of an uninterrupted run")


def _log(run_dir: Path) -> list[tuple[float, ...]]:
    lines = (run_dir / "log" / "metrics.jsonl").read_text().split("\n")
    assert lines.pop() == "", "the last line is torn"
    return [tuple(json.loads(line)[key] for key in COMPARED) for line in lines]


def _output(run_dir: Path) -> str:
    return "\n".join(f"{path.name}:\n{path.read_text()[-4000:]}" for path in sorted(run_dir.glob("output-*.txt")))


def run(folder: Path, kills: int, seed: int, ways: tuple[Way, ...] = WAYS) -> list[tuple[Way, Outcome]]:
    """Kill runs in turn until so many kills were dealt out. The first that is not as it should be ends the program."""
    chance, cfg = random.Random(seed), prepare(folder)
    typical: dict[Way, float] = {}
    for i, way in enumerate(ways):
        configured(cfg, way, folder / f"reference-{i}")
        typical[way] = finish(folder / f"reference-{i}", way.num_ranks)
    outcomes: list[tuple[Way, Outcome]] = []
    dealt = 0
    while dealt < kills:
        i = len(outcomes) % len(ways)
        run_dir = folder / f"run-{len(outcomes)}"
        configured(cfg, ways[i], run_dir)
        most = min(kills - dealt, -(-kills // len(ways)))
        outcome = kill_until_done(run_dir, ways[i].num_ranks, typical[ways[i]], most, chance)
        compare(run_dir, folder / f"reference-{i}")
        outcomes.append((ways[i], outcome))
        dealt += outcome.kills
        print(f"{dealt}/{kills} kills  {ways[i]}: {outcome.kills} kills, then as if left alone", flush=True)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(Path(folder), arguments.kills, arguments.seed)
    for way in WAYS:
        mine = [outcome for each, outcome in outcomes if each == way]
        at = sum((outcome.at_steps for outcome in mine), Counter[int]())
        steps = " ".join(f"{step}:{count}" for step, count in sorted(at.items()))
        print(f"{way}: {len(mine)} runs, {sum(o.kills for o in mine)} kills (newest checkpoint:kills {steps})")


if __name__ == "__main__":
    main()
