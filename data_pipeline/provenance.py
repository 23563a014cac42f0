"""Which settings a folder of shards was made with, so that two data sets never mix in one folder."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipeline.importers.load import catalogue_digest
from fcdist import __version__
from fcdist.config.mapping import to_mapping
from fcdist.config.types import Config
from fcdist.errors import GenerationError
from fcdist.schema.shards import write_json

SETTINGS = "generation.json"
HOW_NOT_WHAT = {
    "out_dir",
    "num_workers",
    "base_url",
    "api_key_env",
    "max_concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "max_retries",
    "timeout_s",
    "prices",
    "budget",
    "batch_api",
    "batch_poll_s",
}
"""Settings of `generate`, and of its parts, that change where, how fast and at what price, not what is written."""
LLM_ONLY = {"llm", "llm_mode", "temperature", "max_tokens", "judge"}


def generation_settings(config: Config) -> dict[str, Any]:
    """Everything the bytes of the shards depend on, by full key."""
    skip = HOW_NOT_WHAT if config.generate.teacher == "openai" else HOW_NOT_WHAT | LLM_ONLY
    chosen = {f"generate.{key}": value for key, value in _without(to_mapping(config.generate), skip).items()}
    files = {"catalogue_sha256": catalogue_digest(config.generate.catalogue)} if config.generate.catalogue else {}
    return {**chosen, **files, "seed": config.seed, "fcdist": __version__}


def _without(settings: Mapping[str, Any], skip: set[str]) -> dict[str, Any]:
    return {
        key: _without(value, skip) if key == "judge" else value for key, value in settings.items() if key not in skip
    }


def config_hash(settings: Mapping[str, Any]) -> str:
    """Hex digest of `generation_settings`; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `generation.json` into a new folder; in a used one, compare.

    Raises:
        GenerationError: the folder's shards were made with other settings, or by another program.
    """
    path = folder / SETTINGS
    way_out = "Set generate.out_dir to another folder, or delete this one to generate it anew."
    if not path.exists():
        if foreign := sorted(folder.glob("*.jsonl")):
            raise GenerationError(f"{folder} holds {foreign[0].name} but no {SETTINGS}: not made here. {way_out}")
        write_json(path, dict(settings))
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise GenerationError(f"{path} cannot be read ({error}). {way_out}") from None
    # Through JSON and back: what is read has lists where the config has tuples.
    wanted = json.loads(json.dumps(settings))
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    if keys:
        difference = "; ".join(f"{key} is {found.get(key)!r} there, {wanted.get(key)!r} here" for key in keys)
        raise GenerationError(f"{folder} was generated with other settings: {difference}. {way_out}")
