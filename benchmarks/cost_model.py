"""What a pack costs on this machine and model: the values of `batch.token_cost` and `batch.target_cost`.

    OMP_NUM_THREADS=1 python -m benchmarks.cost_model --data FILE --out SCRATCH --seq-len 4096

Times forward and backward of packs of many shapes (short and long rows, shared and not), each once after a warm-up, and
fits seconds = a tokens + b pairs + c targets, least squares of the relative error. Prints one JSON line: the settings
a / b and c / b, the relative error of the fit and of the settings in force, and the share of time that 8 ranks would
wait for each other in an epoch planned with either, both judged by the fit.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.settings import add_model_arguments, load_renderer, peer_config, print_facts
from fcdist.config.types import BatchConfig, Config
from fcdist.data.balance import GlobalBatch, idle_share
from fcdist.data.batch import Batch
from fcdist.data.collating import collate
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore, build_store
from fcdist.train import build_module
from fcdist.training.engines.engine import Engine, build_engine
from fcdist.training.estimates.flops import attended_pairs

RANKS = 8


def features(batch: Batch) -> list[float]:
    """Tokens, attended pairs and targets of a batch."""
    return [batch.input_ids.shape[1], attended_pairs(batch.segments), len(batch.target_ids)]


def draw_batches(store: TokenStore, batch: BatchConfig, each: int) -> list[Batch]:
    """`each` packs of every shape: rows of a quarter, half and whole `seq_len`, shared and not."""
    longest = int(store.lengths.max())
    batches: list[Batch] = []
    for part in (4, 2, 1):
        for per_prefix in (1, batch.examples_per_prefix):
            shape = replace(batch, seq_len=max(longest, batch.seq_len // part), examples_per_prefix=per_prefix)
            packs = [pack for step in plan_epoch(store, shape, 0, 0) for pack in step.packs if pack]
            batches += [collate(store, [pack], shape.shared_stretch) for pack in packs[:each]]
    return batches


def seconds(engine: Engine, batch: Batch) -> float:
    """Of forward and backward: CPU time on the CPU, wall time on a GPU."""
    clock = time.process_time if engine.device.type == "cpu" else time.perf_counter
    begun = clock()
    loss, _ = engine(batch)
    engine.backward(loss / max(1, len(batch.target_ids)))
    if engine.device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


def fit(rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """[3] seconds of a token, a pair and a target."""
    return np.asarray(np.linalg.lstsq(rows / times[:, None], np.ones(len(times)), rcond=None)[0])


def relative_error(rows: np.ndarray, times: np.ndarray, costs: Sequence[float]) -> float:
    """Mean deviation of the predicted times, once `costs` are scaled to fit best."""
    ratio = rows @ np.asarray(costs) / times
    return float(np.abs(ratio / ratio.mean() - 1).mean())


def idle(store: TokenStore, planned: BatchConfig, judged: BatchConfig) -> float:
    """Waiting of RANKS ranks in the first epoch of `planned`, if packs cost what `judged` says."""
    plan = plan_epoch(store, replace(planned, global_batch_size=RANKS), 0, 0)[:-1]
    weighed = []
    for step in plan:
        rows = [features(collate(store, [pack], planned.shared_stretch)) for pack in step.packs]
        costs = tuple(round(t * judged.token_cost + pairs + y * judged.target_cost) for t, pairs, y in rows)
        weighed.append(GlobalBatch(step.packs, costs, step.num_targets, step.num_tokens, step.num_unique_tokens))
    return idle_share(weighed, 1, RANKS)


def run(arguments: argparse.Namespace) -> dict[str, object]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = BatchConfig(seq_len=arguments.seq_len, global_batch_size=1)
    cfg: Config = peer_config(arguments, arguments.data, arguments.out, batch)
    store = build_store(cfg, load_renderer(arguments))
    engine = build_engine(build_module(cfg, device), cfg, device)
    engine.train_mode(True)
    batches = draw_batches(store, batch, arguments.packs)
    seconds(engine, batches[-1])
    times = np.array([seconds(engine, batch) for batch in batches])
    rows = np.array([features(batch) for batch in batches], dtype=float)
    token, pair, target = fit(rows, times)
    fitted = replace(batch, token_cost=max(1, round(token / pair)), target_cost=max(1, round(target / pair)))
    return {
        "packs": len(batches),
        "batch.token_cost": fitted.token_cost,
        "batch.target_cost": fitted.target_cost,
        "relative_error": round(relative_error(rows, times, (token, pair, target)), 4),
        "relative_error_in_force": round(relative_error(rows, times, (batch.token_cost, 1, batch.target_cost)), 4),
        "idle_in_force": round(idle(store, batch, fitted), 4),
        "idle_fitted": round(idle(store, fitted, fitted), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ShareGPT file")
    parser.add_argument("--out", type=Path, required=True, help="scratch run folder")
    parser.add_argument("--seq-len", type=int, default=4096, help="longest row, in unique tokens")
    parser.add_argument("--packs", type=int, default=4, help="packs of each of the six shapes")
    add_model_arguments(parser)
    print_facts(run, parser.parse_args())


if __name__ == "__main__":
    main()
