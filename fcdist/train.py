"""`fcdist train`: tune a model on the token store of a run folder.

One process: `python -m fcdist.train RUN`. Several: `torchrun … -m fcdist.train RUN`. Settings: RUN/config.yaml.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fcdist.config.entry import entry
from fcdist.config.run_folder import checkpoints_dir, failures_dir, log_dir, plans_dir, store_dir
from fcdist.config.seeds import derive_seed
from fcdist.config.types import Config
from fcdist.data.kept_plans import KeptPlans
from fcdist.data.loader import PackLoader
from fcdist.data.store import open_store, store_fingerprint
from fcdist.errors import DataError, ShardError
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing, whole_shape
from fcdist.model.attention import resolve_backend
from fcdist.model.fingerprint import base_fingerprint
from fcdist.model.precision import dtype_of, resolve_precision, slow_precision
from fcdist.model.sequence_parallel import SequenceGroup, check_heads
from fcdist.model.weights import find_files, load_model, load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.training.checkpoints.checkpoint import Checkpoints
from fcdist.training.checkpoints.identity import Identity
from fcdist.training.distributed import World, on_every_rank, on_rank_zero, process_group, read_world
from fcdist.training.engines.engine import build_engine, dividing
from fcdist.training.engines.observing import ObservedEngine, lost_ranks_explained
from fcdist.training.loop import train
from fcdist.training.loss import LossModule
from fcdist.training.records.log import Log
from fcdist.training.records.sinks import build_sinks
from fcdist.training.time_limit import limit_steps
from fcdist.training.validation import Validation
from fcdist.training.watching.agreement import check_same_start
from fcdist.training.watching.failures import FailedSteps
from fcdist.training.watching.stopping import StopRequest
from fcdist.training.watching.stragglers import Stragglers
from fcdist.training.watching.watchdog import GRACE_S, Watchdog

logger = logging.getLogger("fcdist.train")


def run(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> int:
    """Check, build, train. Returns 0, or 75 if the run was stopped early and wants to go on."""
    world, cfg = read_world(), resolve_precision(cfg)
    cfg.batch.accumulation_steps(world.world_size)  # refuses a world size that does not fit, before any work
    _configure_logging(world)
    if warning := slow_precision(cfg):
        logger.info("%s", warning)
    torch.use_deterministic_algorithms(cfg.train.deterministic)
    failures = failures_dir(cfg)
    with (
        process_group(world, cfg.train.timeout_s + GRACE_S),
        Watchdog(cfg.train.timeout_s, failures) as watchdog,
        lost_ranks_explained(watchdog),
    ):
        renderer = on_rank_zero(lambda: check_store(cfg))
        store, held_out = on_every_rank(lambda: (open_store(store_dir(cfg)), open_store(store_dir(cfg), "validation")))
        check_same_start(cfg, store.fingerprint)
        plans = KeptPlans(store, cfg.batch, cfg.seed, plans_dir(cfg))
        on_rank_zero(lambda: plans.keep(1 if cfg.train.max_steps else cfg.train.epochs))
        loader = on_every_rank(lambda: PackLoader(store, cfg, world.rank, world.world_size, plans))
        stop = StopRequest(run_dir)
        identity = Identity.of(cfg, store.fingerprint, renderer, on_rank_zero(lambda: base_fingerprint(cfg.model)))
        checkpoints = Checkpoints(checkpoints_dir(cfg), identity, cfg.train)
        checkpoints.check()
        watchdog.mark("loading the model")
        group = SequenceGroup.join(cfg.batch.sequence_parallel, cfg.train.timeout_s + GRACE_S)
        on_every_rank(lambda: find_files(cfg.model))  # ranks that divide it load together: none may fail alone
        module = on_every_rank(lambda: build_module(cfg, world.device, group))
        engine = ObservedEngine(build_engine(module, cfg, world.device), cfg, watchdog, failures)
        engine.train_mode(True)
        limit_steps(cfg.train, engine, loader, log_dir(cfg))
        stragglers = Stragglers(engine.pace.take)
        log = Log(build_sinks(cfg, log_dir(cfg)), cfg.train.log_every, world.device, stragglers)
        validation = Validation(held_out, cfg)
        failed = FailedSteps(failures, cfg.train.max_skipped_steps)
        logger.info(
            "%d examples, %d steps on %d ranks, %s", len(store), loader.num_steps, world.world_size, describe(cfg)
        )
        try:
            return train(cfg, engine, loader, checkpoints, log, validation, stop, failed, watchdog)
        finally:
            checkpoints.close()
            log.close()


def check_store(cfg: Config) -> str:
    """Fingerprint of the renderer, after holding the store against the data and template of now.

    Raises:
        DataError: there is no store, or it was made from other data, template or limits.
    """
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    try:
        fingerprint: str | None = store_fingerprint(cfg, renderer)
    except (DataError, ShardError, OSError) as error:
        logger.warning("the sources of the store cannot be compared with it: %s", error)
        fingerprint = None
    open_store(store_dir(cfg), fingerprint=fingerprint)
    return renderer.fingerprint()


def build_module(cfg: Config, device: torch.device, group: SequenceGroup | None = None) -> nn.Module:
    """The model with adapter, attention and loss, in the precision of the run, on the CPU; under ZeRO-3 divided.

    Raises:
        ConfigError: the ranks of batch.sequence_parallel cannot share the model's attention heads.
    """
    dtype = dtype_of(cfg)
    model = load_model(cfg.model, dtype, resolve_backend(cfg.attention, device, dtype), dividing(cfg, device))
    check_heads(model, cfg.batch.sequence_parallel)
    tuned = apply_tuning(model, cfg.tuning, derive_seed(cfg.seed, "adapter"))
    if cfg.train.activation_checkpointing:
        enable_activation_checkpointing(tuned)
    sizes = [(whole_shape(p).numel(), p.requires_grad) for p in tuned.parameters()]
    trained, every = sum(size for size, trains in sizes if trains), sum(size for size, _ in sizes)
    logger.info("%s of %s parameters train", f"{trained:,}", f"{every:,}")
    return LossModule(tuned, group=group)


def describe(cfg: Config) -> str:
    """Engine and precision in words."""
    engine = f"DeepSpeed ZeRO-{cfg.zero.stage}" if cfg.zero.engine == "deepspeed" else "plain torch"
    return f"{engine}, {cfg.train.precision}, {cfg.tuning.mode}"


def _configure_logging(world: World) -> None:
    level = logging.INFO if world.rank == 0 else logging.WARNING
    prefix = f"[rank {world.rank}] " if world.rank else ""
    logging.basicConfig(level=logging.WARNING, format=f"{prefix}%(message)s")
    logging.getLogger("fcdist").setLevel(level)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    return entry("fcdist train", run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
