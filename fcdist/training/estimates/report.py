"""The estimates of a run in the terminal."""

from rich.console import Console
from rich.table import Table

from fcdist.config.types import Config
from fcdist.training.estimates.activations import count_weights, outline
from fcdist.training.estimates.fitting import Alternative
from fcdist.training.estimates.hardware import GIB, GPUS
from fcdist.training.estimates.memory import MemoryPlan, loading_bytes
from fcdist.training.estimates.work import Work


def print_memory(console: Console, cfg: Config, plan: MemoryPlan, world_size: int) -> None:
    """One line a part, and the peak against what the GPU has."""
    gpu = GPUS[cfg.preflight.gpu]
    table = Table(title=f"memory of each of {world_size} rank(s), estimated", title_justify="left")
    table.add_column("")
    table.add_column("GiB", justify="right")
    table.add_column("note")
    for part in plan.parts:
        table.add_row(part.name, f"{part.bytes / GIB:.2f}", part.note)
    table.add_section()
    row = f"{plan.tokens:,} tokens and {plan.targets:,} targets in a row"
    table.add_row("peak", f"{plan.peak / GIB:.2f}", f"{row}; {cfg.preflight.gpu} has {gpu.memory_gib:.1f}")
    console.print(table)


def print_host_memory(console: Console, cfg: Config, plan: MemoryPlan) -> None:
    """What the ranks of a node need beside their devices."""
    same, other = loading_bytes(cfg, count_weights(outline(cfg)))
    cases = f" if the files are in {cfg.train.precision}, {other / GIB:.1f} GiB if not" if same < other else ""
    offloaded = cfg.launch.nproc_per_node * plan.host_bytes
    console.print(
        f"host memory of a node: {same / GIB:.1f} GiB while loading{cases}; {offloaded / GIB:.1f} GiB of offloaded "
        "optimizer",
        highlight=False,
        soft_wrap=True,
    )


def print_work(console: Console, cfg: Config, work: Work, world_size: int) -> None:
    """FLOPs of a step and hours of the run, with what is assumed."""
    gpu = GPUS[cfg.preflight.gpu]
    idle = f", waiting {work.idle_share:.1%}" if work.idle_share else ""
    limit_h = cfg.train.max_minutes / 60
    cut = f"; train.max_minutes={cfg.train.max_minutes:g} leaves {limit_h / work.hours:.0%} of the steps"
    console.print(
        f"{work.flops_per_step:.3g} FLOPs in a step of all ranks, {work.steps:,} steps: {work.hours:.2f} hours on "
        f"{world_size} {cfg.preflight.gpu} ({gpu.bf16_tflops:g} TFLOP/s in bf16, of which preflight.mfu="
        f"{cfg.preflight.mfu:g} is assumed{idle})" + (cut if 0 < limit_h < work.hours else ""),
        highlight=False,
        soft_wrap=True,
    )


def describe_shortage(cfg: Config, plan: MemoryPlan, alternatives: list[Alternative]) -> str:
    """Why the run does not fit, and what would."""
    gpu = GPUS[cfg.preflight.gpu]
    most = max(plan.parts, key=lambda part: part.bytes)
    text = (
        f"estimated peak {plan.peak / GIB:.1f} GiB a rank, preflight.gpu={cfg.preflight.gpu} has {gpu.memory_gib:.1f}; "
        f"the most is {most.name} ({most.bytes / GIB:.1f})"
    )
    if not alternatives:
        return f"{text}. No change of one rank's settings fits; take more ranks, a larger GPU or a smaller model"
    fits = "; ".join(f"{found.overrides} ({found.plan.peak / GIB:.1f} GiB)" for found in alternatives)
    return f"{text}. What fits: {fits}"
