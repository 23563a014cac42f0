"""`prepare`: samples per CPU second from the source file to the published token store, and what each stage takes.

    OMP_NUM_THREADS=1 python -m benchmarks.prepare --source FILE --format sharegpt
    OMP_NUM_THREADS=1 python -m benchmarks.prepare --generate 2000 --tool-set 8

Prints one JSON line. CPU seconds of this process and its children; `cold` is the first store of the process (template
and caches are new), `samples_cpu_s` the median of the others, each built from nothing; in turn with them, one
`apply_chat_template` to token ids for each conversation. Stages (one worker only) are shares of the last.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.settings import add_model_arguments, cpu_seconds, load_renderer, model_config
from data_pipeline.generate import generate
from fcdist.config.run_folder import function_call_dir
from fcdist.config.types import BatchConfig, Config, DataConfig, GenerateConfig, SourceConfig
from fcdist.data import building
from fcdist.data.store import build_store
from fcdist.data.store_writing import StoreFiles
from fcdist.protocols.rendering import wire_tools
from fcdist.sources.reading import read_source

STAGES = {
    "fingerprint": (building, "store_fingerprint"),
    "render": (building.TokenizeBlock, "_render"),
    "render and tokenise": (building.TokenizeBlock, "__call__"),
    "write": (StoreFiles, "write"),
    "sort": (building, "sort_prefixes"),
    "groups": (building, "prefix_groups"),
    "hash and reopen": (building, "file_sha256"),
}
"""What is timed; the rest is reading and checking the source."""


@contextlib.contextmanager
def stages_timed(spent: dict[str, float]) -> Iterator[None]:
    """Add the CPU seconds of every stage to `spent`."""

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = cpu_seconds()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] = spent.get(name, 0.0) + cpu_seconds() - begun

        return call

    with contextlib.ExitStack() as stack:
        for name, (owner, attribute) in STAGES.items():
            function = timed(name, getattr(owner, attribute))
            stack.enter_context(mock.patch.object(owner, attribute, function))
        yield


def apply_template(source: SourceConfig, arguments: argparse.Namespace) -> tuple[int, float]:
    """(conversations, CPU seconds) of one `apply_chat_template` each to token ids: what any trainer at least does.

    Without mask, checks and writing; the records are read beforehand.
    """
    renderer = load_renderer(arguments)
    chats = [(renderer.wire_messages(c), wire_tools(c.tools)) for c in read_source(source, "source")]
    begun = cpu_seconds()
    for messages, tools in chats:
        renderer.tokenizer.apply_chat_template(messages, tools=tools, chat_template=renderer.chat_template)
    return len(chats), cpu_seconds() - begun


def build(source: SourceConfig, arguments: argparse.Namespace, folder: Path) -> tuple[int, float, dict[str, float]]:
    """(conversations, CPU seconds, of these by stage) of one store built from nothing."""
    data = DataConfig(sources={"source": source}, general_ratio=0.0, num_workers=arguments.num_workers)
    cfg = Config(run_dir=str(folder), model=model_config(arguments), data=data, batch=BatchConfig(seq_len=32768))
    renderer = load_renderer(arguments)
    spent: dict[str, float] = {}
    begun = cpu_seconds()
    with stages_timed(spent):
        store = build_store(cfg, renderer)
    total = cpu_seconds() - begun
    spent["tokenise"] = spent.pop("render and tokenise", 0.0) - spent.get("render", 0.0)
    spent["read and check"] = total - sum(spent.values())
    return store.facts["num_conversations"], total, spent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", help="file, or folder of shards")
    parser.add_argument("--format", choices=("openai", "sharegpt", "alpaca"), default="openai")
    parser.add_argument("--generate", type=int, metavar="N", help="instead: N conversations of the generator")
    parser.add_argument("--tool-set", type=int, default=8, help="conversations that share a tool set (--generate)")
    parser.add_argument("--num-workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    add_model_arguments(parser)
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
        runs, plain = [], []
        for i in range(arguments.repeats + 1):  # both sides in turn
            runs.append(build(source, arguments, Path(scratch, f"run{i}")))
            plain.append(apply_template(source, arguments))
    count, last, spent = runs[-1]
    rates = [count / seconds for count, seconds, _ in runs]
    plain_rate = statistics.median(count / seconds for count, seconds in plain[1:])
    shares = {name: round(seconds / last, 3) for name, seconds in spent.items()}
    facts = {"source": arguments.source or f"generated {arguments.generate}", "samples": count}
    facts |= {"num_workers": arguments.num_workers}
    rate = statistics.median(rates[1:])
    facts |= {"samples_cpu_s": round(rate, 1), "cold": round(rates[0], 1), "apply_chat_template": round(plain_rate, 1)}
    facts |= {"ratio": round(rate / plain_rate, 2), "stages": shares}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
