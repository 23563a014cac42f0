"""Steps that went wrong: what is kept of them, and how many may be left out before the run stops."""

import json
import logging
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fcdist.errors import DataError, TrainingError
from fcdist.schema.shards import write_json
from fcdist.training.distributed import on_rank_zero

logger = logging.getLogger(__name__)

MAX_NAMED = 16
"""Examples named in an error."""
HISTORY, MIN_HISTORY = 50, 10
"""Steps whose median loss a new one is held against, and how many are needed for it."""


@dataclass(frozen=True, slots=True)
class BadPack:
    """One pack of a failed step."""

    rank: int
    micro_step: int
    """From 1."""
    examples: tuple[int, ...]
    """Rows of the token store."""
    loss: float | None = None
    """Summed over its targets, if it came that far."""


class BadStepError(TrainingError):
    """A step whose loss or gradient must not be used. Weights are as before it. Raised on every rank alike."""

    is_shared = True

    def __init__(self, message: str, step: int, packs: Sequence[BadPack]) -> None:
        super().__init__(message)
        self.step, self.packs = step, tuple(packs)


class LossGuard:
    """Tells a loss that explodes: one that lies far above the median of the steps before.

    Args:
        max_rise: nats above the median that are still believed; 0 believes anything.
    """

    def __init__(self, max_rise: float) -> None:
        self._max_rise = max_rise
        self._losses: deque[float] = deque(maxlen=HISTORY)

    @property
    def losses(self) -> list[float]:
        """What the next step is held against, oldest first; a checkpoint keeps it."""
        return list(self._losses)

    def restore(self, losses: Iterable[float]) -> None:
        """Go on with the `losses` of a checkpoint, so that a resumed run decides as one that was never interrupted."""
        self._losses = deque(losses, maxlen=HISTORY)

    def check(self, step: int, loss: float, packs: Callable[[], Sequence[BadPack]]) -> None:
        """Take the mean loss of a step over all ranks; `packs` gathers its packs from them if they are needed.

        Raises:
            BadStepError: it is more than `max_rise` above the median of the last 50 steps (never within the first 10).
        """
        if self._max_rise > 0 and len(self._losses) >= MIN_HISTORY:
            median = statistics.median(self._losses)
            if loss > median + self._max_rise:
                raise BadStepError(
                    f"step {step}: the loss explodes: {loss:.3f} where the steps before had {median:.3f} "
                    f"(train.max_loss_rise={self._max_rise:g} nats). Weights are as before this step. Lower optim.lr, "
                    f"or look at its packs: `fcdist show --failure {step}`",
                    step,
                    packs(),
                )
        self._losses.append(loss)


class FailedSteps:
    """Keeps failed steps in RUN/failures and decides whether the run may go on without them.

    A step that is left out stays counted when the run is resumed, because its file stays; a file of a step that is
    done again after a resume is replaced or removed.

    Args:
        folder: RUN/failures.
        max_skipped: bad steps that the whole run may leave out.
    """

    def __init__(self, folder: Path, max_skipped: int) -> None:
        self._folder, self._max_skipped = folder, max_skipped
        self.num_skipped = 0

    def resume(self, step: int) -> None:
        """The run goes on after `step`: what failed later no longer counts. Every rank calls it."""
        self.num_skipped = on_rank_zero(lambda: self._forget_after(step))

    def skip(self, error: BadStepError) -> None:
        """Keep a bad step and leave it out. Every rank calls it.

        Raises:
            BadStepError: no (more) step may be left out.
        """
        allowed = self.num_skipped < self._max_skipped
        on_rank_zero(lambda: write_failure(self._folder, error.step, str(error), error.packs, skipped=allowed))
        if not allowed:
            if not self._max_skipped:
                raise error
            raise BadStepError(
                f"{error}. {self._max_skipped} bad step(s) have been left out already, train.max_skipped_steps allows "
                "no more",
                error.step,
                error.packs,
            ) from error
        self.num_skipped += 1
        logger.warning("%s. The step is left out (%d of %d)", error, self.num_skipped, self._max_skipped)

    def _forget_after(self, step: int) -> int:
        skipped = 0
        for path in sorted(self._folder.glob("step-*.json")):
            if int(path.stem.removeprefix("step-")) > step:
                path.unlink()
            else:
                skipped += bool(json.loads(path.read_text(encoding="utf-8")).get("skipped"))
        return skipped


def write_failure(folder: Path, step: int, reason: str, packs: Sequence[BadPack], skipped: bool = False) -> Path:
    """Keep the packs of a failed step for `fcdist show --failure`."""
    path = folder / f"step-{step:06d}.json"
    record = {"step": step, "reason": reason, "skipped": skipped, "packs": [asdict(pack) for pack in packs]}
    write_json(path, record)
    return path


def read_failure(folder: Path, step: int | None = None) -> tuple[str, list[BadPack]]:
    """Reason and packs of a failed step, by default of the newest.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    paths = sorted(folder.glob("step-*.json"))
    wanted = [path for path in paths if step is None or path.stem == f"step-{step:06d}"]
    if not wanted:
        kept = ", ".join(str(int(path.stem.removeprefix("step-"))) for path in paths) or "none"
        raise DataError(f"{folder}: no failed step{'' if step is None else f' {step}'} is kept (there: {kept})")
    try:
        record = json.loads(wanted[-1].read_text(encoding="utf-8"))
        packs = [BadPack(**{**pack, "examples": tuple(pack["examples"])}) for pack in record["packs"]]
        return str(record["reason"]), packs
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{wanted[-1]}: cannot be read: {error}") from None


def name_examples(examples: Sequence[int]) -> str:
    """The first rows in brackets."""
    shown = ", ".join(map(str, examples[:MAX_NAMED]))
    return f"[{shown}{', …' if len(examples) > MAX_NAMED else ''}]"
