"""The training loop: two functions, and nothing else happens anywhere else."""

from collections.abc import Callable, Mapping

from fcdist.config.entry import REQUEUE
from fcdist.config.types import Config
from fcdist.data.batch import StepBatches
from fcdist.training.checkpoint import Checkpoints
from fcdist.training.distributed import heartbeat, seed_step
from fcdist.training.engine import Engine, StepSource
from fcdist.training.metrics import Log, StepMetrics, Tally, check_same_work
from fcdist.training.optimizer import learning_rate
from fcdist.training.stopping import StopRequest

Validate = Callable[[Engine], Mapping[str, float]]


def train_step(engine: Engine, step: StepBatches, lr: float) -> StepMetrics:
    """Run one optimizer step over this rank's micro-batches.

    Every target of the step weighs the same, on whichever rank or micro-step it falls: the plan knows
    `num_targets` of the whole global batch beforehand.

    Raises:
        TrainingError: on every rank alike, if the ranks bring different work, or a loss or the gradient norm is not
            finite; weights are then as before the step.
    """
    check_same_work(engine.steps_done + 1, step)
    tally = Tally(engine.steps_done + 1, engine.device)
    for batch in step.batches:
        loss, kind_sums = engine(batch)  # summed over targets; inside the wrapped forward, where ZeRO-3 has the weights
        engine.backward(loss * engine.dp_world_size / step.num_targets)  # the engine averages over ranks
        tally.add(batch, loss, kind_sums)
    totals = tally.reduce()
    return totals.metrics(step, tally.check_norm(engine.step(lr)))


def train(
    cfg: Config,
    engine: Engine,
    loader: StepSource,
    checkpoints: Checkpoints,
    log: Log,
    validate: Validate,
    stop: StopRequest,
) -> int:
    """Train to the last step, from the newest complete checkpoint if there is one. Returns the exit code."""
    step, num_steps = checkpoints.resume(engine, loader), loader.num_steps
    log.start(step, num_steps)
    while step < num_steps:
        step += 1
        heartbeat(cfg.train.timeout_s)
        seed_step(cfg.seed, step, engine.dp_rank)
        rate = learning_rate(cfg.optim, step, num_steps)
        log.step(step, rate, loader, train_step(engine, loader.next_step(), rate))
        last, stopping = step == num_steps, stop.is_agreed()
        if last or (is_due(step, cfg.train.eval_every) and not stopping):
            log.validation(step, validate(engine))
        if last or stopping or is_due(step, cfg.train.save_every):
            checkpoints.save(step, engine, loader)
        if stopping and not last:
            stop.leave_marker(step)
            return REQUEUE
    return 0


def is_due(step: int, every: int) -> bool:
    """Whether a period of `every` steps ends here; 0 is never."""
    return every > 0 and step % every == 0
