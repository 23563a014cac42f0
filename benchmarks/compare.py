"""fcdist and its peers, one after the other on the same samples, as a table of ratios.

    python -m benchmarks.compare --data FILE --max-len 2304 --peers FOLDER --environment trl=VENV ... --out FOLDER

Every run is a process of its own with one thread and leaves its JSON line in OUT/<run>.json; a run that is there is
not repeated (delete the file to measure again). Peers' scripts and environments are named on the command line.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.settings import add_model_arguments, model_config
from fcdist.model.weights import locate


@dataclass(frozen=True, slots=True)
class Peer:
    """One mode of a peer's script."""

    environment: str
    script: str
    mode: str
    packs: bool = False
    """A row holds several samples, so a step takes one row."""
    options: tuple[str, ...] = ()


PEERS: Mapping[str, Peer] = {
    "hf-pad": Peer("trl", "bench_hf.py", "pad"),
    "hf-pad-bf16": Peer("trl", "bench_hf.py", "pad", options=("--pure-bf16",)),
    "hf-group": Peer("trl", "bench_hf.py", "group"),
    "hf-flat": Peer("trl", "bench_hf.py", "flat"),
    "hf-flat-bf16": Peer("trl", "bench_hf.py", "flat", options=("--pure-bf16",)),
    "trl-pack": Peer("trl", "bench_trl.py", "pack", packs=True),
    "trl-pad": Peer("trl", "bench_trl.py", "pad"),
    "lf-neat": Peer("lf", "bench_llamafactory.py", "neat", packs=True),
    "lf-pack": Peer("lf", "bench_llamafactory.py", "pack", packs=True),
    "lf-pad": Peer("lf", "bench_llamafactory.py", "pad"),
    "swift-pad": Peer("swift", "bench_swift.py", "pad"),
    "swift-group": Peer("swift", "bench_swift.py", "group"),
}
OURS = "fcdist"


def peer_command(peer: Peer, arguments: argparse.Namespace, out: Path) -> list[str]:
    environments = dict(item.split("=", 1) for item in arguments.environment)
    if peer.environment not in environments:
        raise SystemExit(f"{peer.script} needs --environment {peer.environment}=VENV")
    runner = Path(__file__).with_name("run_peer.py")
    command = [f"{environments[peer.environment]}/bin/python", str(runner), str(arguments.peers / peer.script)]
    command += ["--model", locate(model_config(arguments)), "--data", str(arguments.data)]
    command += ["--out", str(out), "--mode", peer.mode]
    command += ["--max-len", str(arguments.max_len), "--batch", str(1 if peer.packs else arguments.batch)]
    command += ["--steps", str(arguments.steps), "--warmup", str(arguments.warmup), "--threads", "1", *peer.options]
    return command + [f"--{name}" for name in ("audit", "prep-only") if getattr(arguments, name.replace("-", "_"))]


def our_command(per_prefix: int, arguments: argparse.Namespace, out: Path) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.throughput", "--data", str(arguments.data), "--out", str(out)]
    command += ["--seq-len", str(arguments.seq_len), "--examples-per-prefix", str(per_prefix)]
    command += ["--steps", str(arguments.our_steps), "--warmup", str(arguments.warmup)]
    return [*command, "--model", arguments.model, "--chat-template", arguments.chat_template]


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any] | None:
    """JSON line of one run; None if it failed, with the reason in OUT/<run>.log."""
    result, log = arguments.out / f"{name}.json", arguments.out / f"{name}.log"
    if not result.is_file():
        scratch = arguments.out / "scratch" / name
        scratch.mkdir(parents=True, exist_ok=True)
        if name.startswith(OURS):
            command = our_command(int(name.rpartition("-k")[2]), arguments, scratch)
        else:
            command = peer_command(PEERS[name], arguments, scratch)
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        with log.open("w", encoding="utf-8") as errors:
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        lines = done.stdout.strip().splitlines()
        if done.returncode or not lines:
            print(f"{name}: exit code {done.returncode}, see {log}", file=sys.stderr)
            return None
        result.write_text(lines[-1] + "\n", encoding="utf-8")
    facts: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    if "tokens_cpu_s" in facts:
        facts.setdefault("samples_cpu_s", facts["tokens_cpu_s"] * facts["samples_s"] / facts["tokens_s"])
    return facts


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: figures of each run, and how many times as much the first run gets done."""
    base = next(iter(results.values()))
    lines = [
        "| run | samples / CPU s | tokens / CPU s | useful | peak RSS, GB | first / this, samples | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, facts in results.items():
        ratios = [base[key] / facts[key] for key in ("samples_cpu_s", "tokens_cpu_s")]
        lines.append(
            f"| {name} | {facts['samples_cpu_s']:.4f} | {facts['tokens_cpu_s']:.0f} | {facts['useful']:.2f} "
            f"| {facts['peak_rss_mb'] / 1000:.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |"
        )
    return "\n".join(lines)


def achieved_share(tree: Mapping[str, Any], separate: Mapping[str, Any]) -> float:
    """Speed-up of sharing, as a share of what the FLOPs saved would give; both runs are fcdist's own."""
    return float(tree["gflops_cpu_s"] / separate["gflops_cpu_s"])


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="ShareGPT file")
    parser.add_argument("--out", type=Path, required=True, help="results and scratch of this point")
    parser.add_argument("--peers", type=Path, required=True, help="folder of the peers' scripts")
    parser.add_argument("--environment", action="append", default=[], metavar="trl|lf|swift=VENV")
    parser.add_argument("--max-len", type=int, required=True, help="peers' row; must hold the longest sample")
    parser.add_argument("--seq-len", type=int, default=8192, help="fcdist's batch.seq_len (unique tokens)")
    parser.add_argument("--batch", type=int, default=1, help="samples of a step, for peers that do not pack")
    parser.add_argument("--steps", type=int, default=4, help="of the peers")
    parser.add_argument("--our-steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--audit", action="store_true", help="peers check whether packed samples see each other")
    parser.add_argument("--prep-only", action="store_true", help="peers stop before training")
    add_model_arguments(parser)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = ", ".join((f"{OURS}-kN", *PEERS))
    parser.add_argument("runs", nargs="+", help=f"in this order; of: {known}")
    add_run_arguments(parser)
    arguments = parser.parse_args(argv)
    for name in arguments.runs:
        if name not in PEERS and not name.startswith(f"{OURS}-k"):
            parser.error(f"unknown run {name!r}; known: {known}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {name: facts for name in arguments.runs if (facts := measure(name, arguments)) is not None}
    if arguments.audit or arguments.prep_only:
        for name, facts in results.items():
            print(name, json.dumps(facts.get("audit") or {k: v for k, v in facts.items() if k.startswith("prep")}))
        return
    print(table(results))
    ours = {name: facts for name, facts in results.items() if name.startswith(OURS)}
    separate = ours.pop(f"{OURS}-k1", None)
    for name, facts in ours.items():
        if separate is not None:
            share = achieved_share(facts, separate)
            print(
                f"{name}: {share * facts['flop_ratio']:.2f}x of a FLOP limit of {facts['flop_ratio']:.2f}x: {share:.0%}"
            )


if __name__ == "__main__":
    main()
