"""Which base weights a name stands for now, told without reading them whole."""

import hashlib
from pathlib import Path

from transformers.utils.hub import cached_file

from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.weights import DEBUG, is_debug, locate

PATTERNS = ("config.json", "*.safetensors", "*.index.json", "*.bin", "*.py")
"""Files that decide what the model computes; tokenizer and template are part of the token store's fingerprint."""
BLOCKS, BLOCK_SIZE = 256, 4096


def base_fingerprint(cfg: ModelConfig) -> str:
    """Digest of the weights behind `model.path`: a run must not go on after others took their place.

    Of a folder: names and sizes of its files, and 256 blocks of 4 KiB spread evenly over each (a smaller file whole).
    Another training run changes nearly every block; an edit of a few single values may go unnoticed. Of a hub name: the
    commit that it stands for.

    Raises:
        ModelError: the folder or the hub name cannot be found, or holds no weights.
    """
    if is_debug(cfg):
        return DEBUG
    source = locate(cfg)
    if Path(source).is_dir():
        return _folder_fingerprint(Path(source))
    try:
        config = cached_file(source, "config.json", revision=cfg.revision or None)
    except OSError as error:
        raise ModelError(f"model.path={cfg.path!r}: {str(error).strip().splitlines()[0]}") from None
    return Path(str(config)).parent.name  # …/snapshots/COMMIT/config.json


def _folder_fingerprint(folder: Path) -> str:
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()})
    if not files:
        raise ModelError(f"{folder}: holds none of {', '.join(PATTERNS)}; model.path must name a folder with a model")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            for i in range(min(BLOCKS, -(-size // BLOCK_SIZE))):
                file.seek(i * BLOCK_SIZE if size <= BLOCKS * BLOCK_SIZE else (size - BLOCK_SIZE) * i // (BLOCKS - 1))
                digest.update(file.read(BLOCK_SIZE))
    return digest.hexdigest()
