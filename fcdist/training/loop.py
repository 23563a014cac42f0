"""The training loop: two functions, and nothing else happens anywhere else."""

from collections.abc import Callable, Mapping

from fcdist.config.entry import REQUEUE
from fcdist.config.types import Config
from fcdist.data.batch import StepBatches
from fcdist.training.checkpoints.checkpoint import Checkpoints
from fcdist.training.distributed import seed_step
from fcdist.training.engines.engine import Engine, StepSource
from fcdist.training.engines.optimizer import learning_rate
from fcdist.training.records.log import Log
from fcdist.training.records.metrics import StepMetrics, Tally, check_same_work
from fcdist.training.watching.failures import BadStepError, FailedSteps, LossGuard
from fcdist.training.watching.stopping import StopRequest
from fcdist.training.watching.watchdog import Watchdog

Validate = Callable[[Engine], Mapping[str, float]]


def train_step(
    engine: Engine, number: int, step: StepBatches, lr: float, guard: LossGuard | None = None
) -> StepMetrics:
    """Run one optimizer step over this rank's micro-batches.

    Every target of the step weighs the same, on whichever rank or micro-step it falls: the plan knows
    `num_targets` of the whole global batch beforehand.

    Raises:
        TrainingError: on every rank alike, if the ranks bring different work; weights are as before the step.
        BadStepError: likewise, if a loss or the gradient norm is not finite, or the loss explodes.
    """
    check_same_work(number, step)
    tally = Tally(number, engine.device)
    for batch in step.batches:
        loss, kind_sums = engine(batch)  # summed over targets; inside the wrapped forward, where ZeRO-3 has the weights
        engine.backward(loss * engine.dp_world_size / step.num_targets)  # the engine averages over ranks
        tally.add(batch, loss, kind_sums)
    totals = tally.reduce()
    if guard is not None:
        guard.check(number, totals.loss_sum / step.num_targets, tally.all_packs)
    return totals.metrics(step, tally.check_norm(engine.step(lr)))


def train(
    cfg: Config,
    engine: Engine,
    loader: StepSource,
    checkpoints: Checkpoints,
    log: Log,
    validate: Validate,
    stop: StopRequest,
    failed: FailedSteps,
    watchdog: Watchdog,
) -> int:
    """Train to the last step, from the newest complete checkpoint if there is one. Returns the exit code."""
    guard = LossGuard(cfg.train.max_loss_rise)
    step, num_steps = checkpoints.resume(engine, loader, guard), loader.num_steps
    failed.resume(step)
    log.start(step, num_steps)
    while step < num_steps:
        step += 1
        watchdog.mark("next batches", step)
        seed_step(cfg.seed, step, engine.dp_rank)
        rate = learning_rate(cfg.optim, step, num_steps)
        try:
            metrics = train_step(engine, step, loader.next_step(), rate, guard)
        except BadStepError as error:
            failed.skip(error)  # or raise
            engine.discard()
            metrics = None
        log.step(step, rate, loader, metrics, failed.num_skipped)
        last, stopping = step == num_steps, stop.is_agreed()
        if last or (is_due(step, cfg.train.eval_every) and not stopping):
            log.validation(step, validate(engine))
        if last or stopping or is_due(step, cfg.train.save_every):
            checkpoints.save(step, engine, loader, guard, wait=last or stopping)
        if stopping and not last:
            stop.leave_marker(step)
            return REQUEUE
    return 0


def is_due(step: int, every: int) -> bool:
    """Whether a period of `every` steps ends here; 0 is never."""
    return every > 0 and step % every == 0
