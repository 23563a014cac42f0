"""Write what leaves a run: the adapter in PEFT layout and the merged model, both ready for plain transformers.

`python -m fcdist.export RUN`. The tokenizer carries the chat template that trained, and a response template, so that
`tokenizer.parse_response` reads calls back.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from fcdist.config.entry import entry
from fcdist.config.run_folder import checkpoints_dir, export_dir
from fcdist.config.types import Config, ModelConfig
from fcdist.errors import CheckpointError, RenderError
from fcdist.model.adapters import cast_weights, merge_adapter
from fcdist.model.precision import DTYPES
from fcdist.model.tuned import load_adapted
from fcdist.model.weights import load_tokenizer, quiet
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.training.checkpoints.finding import newest_checkpoint

ADAPTER, MERGED, ORIGIN = "adapter", "merged", "fcdist.json"
CARD = """# Tuned for function calling

Base: `{base}`. Written by fcdist from checkpoint `{checkpoint}`.

The tokenizer holds the chat template that trained (protocol `{protocol}`); pass tools to it, greedy decoding, and
read the answer back:

```python
prompt = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
message = tokenizer.parse_response(answer, prefix=prompt)
```
"""


def export(cfg: Config, checkpoint: Path, out_dir: Path) -> list[Path]:
    """Write OUT/adapter (LoRA runs) and OUT/merged from a checkpoint, as `export.*` asks.

    Each folder is written beside its place and renamed, so that it is either complete or absent.

    Args:
        cfg: the run's settings.
        checkpoint: a complete checkpoint folder.
        out_dir: parent of both folders.

    Returns:
        The folders written.

    Raises:
        CheckpointError: the checkpoint does not fit `cfg`.
        ModelError: the base model cannot be loaded.
    """
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    tokenizer = _tokenizer(renderer)
    model = load_adapted(cfg, checkpoint)
    written = []

    def finish(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        origin = {"base": base_name(cfg.model), "protocol": cfg.protocol.name, "checkpoint": checkpoint.name}
        (folder / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        # replaces peft's, which is a form with every field left open
        (folder / "README.md").write_text(CARD.format(**origin), encoding="utf-8")

    if cfg.export.adapter and isinstance(model, PeftModel):
        adapter = model

        def write_adapter(folder: Path) -> None:
            settings: dict[str, Any] = dict(adapter.peft_config)
            for peft_config in settings.values():
                peft_config.base_model_name_or_path = base_name(cfg.model)
                peft_config.revision = cfg.model.revision or None
                peft_config.target_modules = sorted(cfg.tuning.targets)  # a set, in an order that changes
                peft_config.inference_mode = True
            adapter.save_pretrained(str(folder), save_embedding_layers=False)
            finish(folder)

        written.append(_publish(out_dir / ADAPTER, write_adapter))
    if cfg.export.merged:
        merged = cast_weights(merge_adapter(model), DTYPES[cfg.export.dtype])
        merged.generation_config = _generation_config(merged, renderer)

        def write_merged(folder: Path) -> None:
            merged.save_pretrained(folder)
            finish(folder)

        written.append(_publish(out_dir / MERGED, write_merged))
    return written


def base_name(cfg: ModelConfig) -> str:
    """The base model as one would name it: hub name, folder, or package or folder and GGUF file."""
    parts = [cfg.package, "" if cfg.package and cfg.path == "." else cfg.path, cfg.gguf_file]
    return "/".join(part for part in parts if part)


def _tokenizer(renderer: Renderer) -> PreTrainedTokenizerBase:
    try:
        return renderer.prepare_tokenizer()
    except RenderError as error:  # training is done: a missing reader must not cost the weights
        print(f"exported without a response template: {error}", flush=True)
        renderer.tokenizer.chat_template = renderer.chat_template
        return renderer.tokenizer


def _generation_config(model: PreTrainedModel, renderer: Renderer) -> GenerationConfig:
    """Greedy, ending at the end of a turn; the base checkpoint's sampling defaults are not for calls."""
    stops = list(dict.fromkeys([renderer.end_of_turn_id, *renderer.stop_token_ids]))
    base = model.generation_config
    return GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=base.bos_token_id if base else None,
        eos_token_id=stops[0] if len(stops) == 1 else stops,
        pad_token_id=renderer.tokenizer.pad_token_id,
        do_sample=False,
    )


def _publish(target: Path, write: Callable[[Path], None]) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with quiet():
            write(scratch)
        scratch.chmod(0o755)
        for file in scratch.iterdir():
            file.chmod(0o644)  # weights are written readable by their owner only
        if target.exists():
            shutil.rmtree(target)
        os.replace(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def body(cfg: Config, run_dir: Path, arguments: argparse.Namespace) -> None:
    """Export the newest complete checkpoint of a run. Raises CheckpointError if there is none."""
    checkpoint = newest_checkpoint(checkpoints_dir(cfg))
    if checkpoint is None:
        raise CheckpointError(f"{checkpoints_dir(cfg)}: no complete checkpoint; train the run first")
    for folder in export(cfg, checkpoint, export_dir(cfg)):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{folder}  {size / 2**20:.1f} MiB", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Worker of `fcdist export`."""
    return entry("fcdist export", body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
