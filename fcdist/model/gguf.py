"""GGUF files, converted once to an ordinary checkpoint folder in the user's cache.

transformers reads a GGUF in some 15 s even for a small model, and every worker process loads the weights; the
converted folder loads in about one. Loading it with `dtype=` also keeps RoPE frequencies in fp32, which a cast of
the whole model does not.
"""

import contextlib
import hashlib
import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from fcdist.errors import ModelError

CACHE_ENV = "FCDIST_CACHE"
LAYOUT = 1
"""Part of the cache key; raise it when what is written changes."""


def cache_dir() -> Path:
    """$FCDIST_CACHE, else the user's cache folder for fcdist."""
    if given := os.environ.get(CACHE_ENV):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcdist"


def converted_folder(gguf: Path) -> Path:
    """Folder with the fp32 weights, config and tokenizer of `gguf`; written on first use.

    The key is the content of the file and the converter's version. Several processes may ask at once: one converts,
    the others wait for the lock; the folder takes its name only when complete.

    Raises:
        ModelError: transformers cannot read the file, or weights are missing in it.
    """
    versions = f"{LAYOUT}/{transformers.__version__}/{torch.__version__}"
    with gguf.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    key = hashlib.sha256(f"{content}/{versions}".encode()).hexdigest()[:16]
    target = cache_dir() / "gguf" / f"{gguf.stem}-{key}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f"{target.name}.lock")
        with lock:
            if not target.is_dir():
                scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
                try:
                    convert(gguf, scratch)
                    scratch.chmod(0o755)
                    os.replace(scratch, target)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"{gguf}: cannot be converted into the cache {target.parent}: {error}. "
            f"Set {CACHE_ENV} to a writable folder with room for the fp32 weights."
        ) from error
    return target


def convert(gguf: Path, folder: Path) -> None:
    """Write the weights of `gguf`, dequantised to fp32, and its tokenizer to `folder`. Raises ModelError."""
    where = str(gguf.parent)
    print(f"converting {gguf.name} (once; kept in {folder.parent})", file=sys.stderr, flush=True)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar knows no switch
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                where,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),  # the default would keep packed weights
                dtype=torch.float32,
                output_loading_info=True,
            )
        model, info = loaded
        tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=gguf.name)
    except (ValueError, KeyError, NotImplementedError, ImportError) as error:
        raise ModelError(f"{gguf}: transformers cannot read this GGUF: {error}") from error
    if info["missing_keys"]:
        raise ModelError(f"{gguf}: weights missing in the file: {', '.join(sorted(info['missing_keys'])[:5])}")
    if hasattr(model.config, "quantization_config"):  # plain weights now: they can be trained and saved
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
