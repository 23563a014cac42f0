"""Where records go: JSON lines always, TensorBoard and W&B beside it. None of them can fail or block a run."""

import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from fcdist.config.mapping import to_mapping
from fcdist.config.types import Config
from fcdist.training.checkpoints.durable import rename, write_file

logger = logging.getLogger(__name__)

METRICS = "metrics.jsonl"
WANDB_ID = "wandb_id"
INIT_TIMEOUT_S = 30
FINISH_TIMEOUT_S = 60


class Sink(Protocol):
    """Takes the records of rank 0."""

    def resume(self, step: int) -> None:
        """The run goes on after `step`; what was written for later steps no longer holds."""

    def write(self, record: Mapping[str, float]) -> None:
        """Take one record; it has `step`."""

    def close(self) -> None:
        """Write out what is buffered."""


class JsonlSink:
    """The source of truth: one JSON object a line, on disk at once, so that a killed run loses nothing.

    What a full disk does not take waits in memory and is tried again with every further record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._after: int | None = None
        """Records of later steps on the disk are not of this session and go first; None: not yet known."""
        self._size: int | None = None
        """Bytes that stay on the disk; None: the file is not yet cut to `_after`."""
        self._waiting = b""
        self._works = True

    def resume(self, step: int) -> None:
        """Keep the whole lines up to `step` and append from there."""
        self._after, self._size = step, None
        self._flush()

    def write(self, record: Mapping[str, float]) -> None:
        """Append."""
        if self._after is None:
            self._after = int(record["step"]) - 1
        self._waiting += f"{json.dumps(record)}\n".encode()
        self._flush()

    def close(self) -> None:
        """Try what still waits once more."""
        if self._waiting:
            self._flush()
        if self._waiting:
            logger.warning("%s lacks the last records, which the disk did not take", self._path)

    def _flush(self) -> None:
        """Write what waits. One warning when the disk begins to refuse it, and one when it takes it again."""
        try:
            if self._size is None:
                self._size = self._cut()
            self._append(self._size)
        except OSError as error:
            if self._works:
                logger.warning("%s cannot be written: %s. Records wait until it can", self._path, error)
            self._works = False
            return
        if not self._works:
            logger.warning("%s is written again, no record is missing", self._path)
        self._works = True

    def _cut(self) -> int:
        kept = [line for line in _lines(self._path) if _step_of(line) <= (self._after or 0)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        written = write_file(temporary, ["".join(f"{line}\n" for line in kept).encode()])
        rename(temporary, self._path)
        return written.size

    def _append(self, size: int) -> None:
        """Write at the end of what stays: the torn line that a full disk left is finished, not begun again."""
        handle = os.open(self._path, os.O_WRONLY)
        try:
            while self._waiting:
                written = os.pwrite(handle, self._waiting, size)
                size, self._waiting = size + written, self._waiting[written:]
                self._size = size
        finally:
            os.close(handle)


class TensorBoardSink:
    """Event files below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def resume(self, step: int) -> None:
        """Start a new event file that hides what an earlier one holds after `step`."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder), purge_step=step + 1)

    def write(self, record: Mapping[str, float]) -> None:
        """One scalar a field."""
        for key, value in record.items():
            if key != "step":
                self._writer.add_scalar(key, value, int(record["step"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbSink:
    """Weights & Biases. One run per run folder: its id is kept there and taken up again on resume."""

    def __init__(self, cfg: Config, folder: Path) -> None:
        self._cfg, self._folder = cfg, folder
        self._run: Any = None

    def resume(self, step: int) -> None:
        """Join or start the run; online falls back to offline when there is no key or no server."""
        mode = self._cfg.logger.wandb
        if mode == "online" and not _has_wandb_key():
            logger.warning("logger.wandb=online but no API key (WANDB_API_KEY or `wandb login`); writing offline")
            mode = "offline"
        try:
            self._run = self._init(mode)
        except Exception as error:
            if mode != "online":
                raise
            logger.warning("W&B cannot be reached (%s); writing offline, `wandb sync` later", error)
            self._run = self._init("offline")
        # Our own step is the axis: syncing several offline pieces of one run renumbers W&B's.
        self._run.define_metric("*", step_metric="step")

    def write(self, record: Mapping[str, float]) -> None:
        """Hand over one record; sending happens in W&B's own process."""
        self._run.log(dict(record))

    def close(self) -> None:
        """Finish, waiting no longer than a minute for uploads."""
        if self._run is not None:
            self._run.finish()

    def _init(self, mode: str) -> Any:
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        id_file = self._folder / WANDB_ID
        run_id = os.environ.get("WANDB_RUN_ID", "")
        if not run_id:
            run_id = id_file.read_text(encoding="utf-8").strip() if id_file.is_file() else secrets.token_hex(4)
        id_file.write_text(f"{run_id}\n", encoding="utf-8")
        options = self._cfg.logger
        return wandb.init(
            mode=mode,  # type: ignore[arg-type]
            id=run_id,
            resume="allow",
            dir=str(self._folder),
            project=options.project,
            entity=options.entity or None,
            group=options.group or None,
            name=self._cfg.name,
            tags=list(options.tags) or None,
            config=public_settings(self._cfg),
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=INIT_TIMEOUT_S,
                login_timeout=INIT_TIMEOUT_S,
                finish_timeout=FINISH_TIMEOUT_S,
                finish_timeout_raises=False,
                disable_git=True,
                save_code=False,
            ),
        )


class GuardedSink:
    """Turns another sink's failures into one warning; after it that sink is left alone."""

    def __init__(self, name: str, sink: Sink) -> None:
        self._name, self._sink, self._works = name, sink, True

    def resume(self, step: int) -> None:
        """See `Sink`."""
        self._try(lambda: self._sink.resume(step))

    def write(self, record: Mapping[str, float]) -> None:
        """See `Sink`."""
        self._try(lambda: self._sink.write(record))

    def close(self) -> None:
        """See `Sink`."""
        self._try(self._sink.close)

    def _try(self, action: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:
            self._works = False
            logger.warning(
                "%s failed and is off for the rest of the run: %s: %s", self._name, type(error).__name__, error
            )


def build_sinks(cfg: Config, folder: Path) -> list[Sink]:
    """The configured sinks, none of which raises. For rank 0; `folder` is RUN/log."""
    sinks: list[tuple[str, Sink]] = [(METRICS, JsonlSink(folder / METRICS))]
    if cfg.logger.tensorboard:
        sinks.append(("TensorBoard", TensorBoardSink(folder / "tensorboard")))
    if cfg.logger.wandb != "disabled":
        sinks.append(("W&B", WandbSink(cfg, folder)))
    return [GuardedSink(name, sink) for name, sink in sinks]


def public_settings(cfg: Config) -> dict[str, Any]:
    """The config without what may hold secrets: environment variables and shell lines of the job."""
    settings = to_mapping(cfg)
    for key in ("env", "setup", "sbatch_lines"):
        settings["launch"].pop(key)
    return settings


def _has_wandb_key() -> bool:
    import wandb

    if os.environ.get("WANDB_API_KEY"):
        return True
    return bool(wandb.login(prompt=False, verify=False))  # wandb.init would ask on the terminal


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a torn last line
