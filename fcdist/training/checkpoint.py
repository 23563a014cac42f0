"""Checkpoints: complete or absent, checked before use, and only for the run they belong to.

    RUN/checkpoints/step-000123/
      engine/…                 the engine's own state, every rank's part
      trainable.safetensors    trainable weights, whole; what export and evaluation read
      state.json               step, cursor, settings, fingerprints, versions
      MANIFEST.json            size and sha256 of every file; written last

A folder is filled under a hidden name, flushed to disk and renamed. Random generators are not stored: each step seeds
them by (seed, step, rank).
"""

import hashlib
import importlib.metadata
import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

import fcdist
from fcdist.config.mapping import to_mapping
from fcdist.config.types import BatchConfig, Config
from fcdist.errors import CheckpointError
from fcdist.training.distributed import barrier, gather_objects, get_rank, get_world_size, on_rank_zero
from fcdist.training.engine import Engine, StepSource

logger = logging.getLogger(__name__)

MANIFEST, STATE, TRAINABLE, ENGINE = "MANIFEST.json", "state.json", "trainable.safetensors", "engine"
FORMAT = 1
NAME = re.compile(r"step-(\d{6,})")

MUST_MATCH = (
    "seed",
    "model",
    "protocol",
    "tuning",
    "optim",
    *(f"batch.{key}" for key in BatchConfig().plan_settings()),
    "zero.engine",
    "zero.stage",
    "train.precision",
)
"""Settings that make the weights and batches what they are; `train.epochs`, `train.max_steps` may grow."""

PACKAGES = ("torch", "transformers", "peft", "deepspeed", "safetensors")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checkpoint must share with the run that loads it."""

    config: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    """Of the token store and of the composed template (`store`, `renderer`)."""

    @classmethod
    def of(cls, cfg: Config, store: str, renderer: str = "") -> "Identity":
        """Identity of a run."""
        return cls(to_mapping(cfg), {"store": store, "renderer": renderer})

    def differences(self, state: Mapping[str, Any]) -> list[str]:
        """Keys that differ from a checkpoint's state.json, each with both values."""
        here, there = _flatten(self.config), _flatten(state["config"])
        keys = [k for k in sorted({*here, *there}) if any(k == m or k.startswith(f"{m}.") for m in MUST_MATCH)]
        if here.get("zero.engine") == there.get("zero.engine") == "local":
            keys.remove("zero.stage")
        found = [f"{k}: {there.get(k)!r} → {here.get(k)!r}" for k in keys if here.get(k) != there.get(k)]
        for name, value in self.fingerprints.items():
            if state["fingerprints"].get(name) != value:
                found.append(f"fingerprint of the {name}: {state['fingerprints'].get(name)!r} → {value!r}")
        return found


class Checkpoints:
    """Publishes and finds the checkpoints of one run."""

    def __init__(self, folder: Path, identity: Identity, keep_last: int = 2) -> None:
        self._folder, self._identity, self._keep_last = folder, identity, max(keep_last, 1)

    def save(self, step: int, engine: Engine, loader: StepSource) -> Path:
        """Write and publish the state after `step`. Every rank calls it.

        Raises:
            CheckpointError: a rank could not write; raised on every rank, earlier checkpoints are untouched.
        """
        final = self._folder / f"step-{step:06d}"
        temporary = self._folder / f".{final.name}.tmp"
        on_rank_zero(lambda: _make_empty(temporary))
        _everywhere(lambda: engine.save(temporary / ENGINE), f"{temporary / ENGINE}")
        weights = engine.trainable_state_dict()
        state = self._state(step, loader)
        barrier()
        on_rank_zero(lambda: self._publish(temporary, final, weights, state))
        return final

    def check(self) -> None:
        """Refuse a foreign checkpoint before the model is loaded. Every rank calls it. Raises CheckpointError."""
        on_rank_zero(self._find)

    def resume(self, engine: Engine, loader: StepSource) -> int:
        """Restore the newest complete checkpoint of this run. Every rank calls it.

        Returns:
            The step it was saved after; 0 if there is none.

        Raises:
            CheckpointError: it belongs to other data or settings (the keys are listed), or another world size.
        """
        found = on_rank_zero(self._find)  # one rank decides: file systems may lag
        if found is None:
            return 0
        path, state = found
        _everywhere(lambda: engine.load(path / ENGINE), f"{path / ENGINE}")
        loader.load_state_dict(state["cursor"])
        if get_rank() == 0:
            logger.info("resumed from %s", path)
        return int(state["step"])

    def _find(self) -> tuple[Path, dict[str, Any]] | None:
        path = newest_checkpoint(self._folder)
        if path is None:
            return None
        state = read_state(path)
        if differences := self._identity.differences(state):
            raise CheckpointError(
                f"{path} belongs to another run; checkpoint → now: {'; '.join(differences)}. "
                f"Restore these settings, or train in another run_dir"
            )
        saved, here = state["world_size"], get_world_size()
        if saved != here and self._identity.config["zero"]["engine"] == "deepspeed":
            raise CheckpointError(
                f"{path} was saved by {saved} ranks under DeepSpeed, and this run has {here}: ZeRO shards load only on "
                f"the world size that wrote them. Start {saved} ranks (launch.nodes x launch.nproc_per_node), or train "
                f"with zero.engine=local, whose checkpoints fit any world size"
            )
        return path, state

    def _state(self, step: int, loader: StepSource) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "step": step,
            "cursor": dict(loader.state_dict()),
            "world_size": get_world_size(),
            "protocol": self._identity.config["protocol"]["name"],
            "fingerprints": dict(self._identity.fingerprints),
            "config": dict(self._identity.config),
            "versions": versions(),
        }

    def _publish(self, temporary: Path, final: Path, weights: dict[str, Any], state: Mapping[str, Any]) -> None:
        try:
            save_file(weights, temporary / TRAINABLE, metadata={"format": "pt", "step": str(state["step"])})
            (temporary / STATE).write_text(json.dumps(state, indent=2, ensure_ascii=False), encoding="utf-8")
            write_manifest(temporary)
            if final.exists():  # the same step again, after a torn or a repeated save
                shutil.rmtree(final)
            os.replace(temporary, final)
            _flush(self._folder)
            self._prune(final)
        except OSError as error:
            raise CheckpointError(f"{final} cannot be written: {error}; earlier checkpoints are untouched") from error

    def _prune(self, newest: Path) -> None:
        for path in self._folder.glob(".step-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in _by_step(self._folder)[self._keep_last :]:
            if path != newest:
                doomed = path.with_name(f".{path.name}.old")  # no reader may see it half gone
                os.replace(path, doomed)
                shutil.rmtree(doomed, ignore_errors=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint below RUN/checkpoints; torn ones are skipped with a warning. None: no such."""
    for path in _by_step(folder):
        if (problem := find_damage(path)) is None:
            return path
        logger.warning("%s is skipped: %s", path, problem)
    return None


def find_damage(path: Path) -> str | None:
    """Why a checkpoint must not be used: a file is missing, cut or altered. None if it is whole."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, entry in manifest["files"].items():
            file = path / name
            if not file.is_file():
                return f"{name} is missing"
            if (size := file.stat().st_size) != entry["size"]:
                return f"{name} has {size} bytes, not {entry['size']}"
            if _sha256(file) != entry["sha256"]:
                return f"{name} does not match its checksum"
    except FileNotFoundError:
        return f"{MANIFEST} is missing, the save did not finish"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None if STATE in manifest["files"] else f"{MANIFEST} lists no {STATE}"


def read_state(path: Path) -> dict[str, Any]:
    """state.json of a checkpoint. Raises CheckpointError if it is unreadable or of another format."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / STATE}: cannot be read: {error}") from None
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path / STATE}: format {state.get('format')!r}; this version reads {FORMAT}")
    return state


def write_manifest(folder: Path) -> None:
    """List every file below `folder` with size and sha256, and flush everything to disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": _sha256(path)}
        _flush(path)
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")
    _flush(folder / MANIFEST)
    for path in [p for p in folder.rglob("*") if p.is_dir()] + [folder]:
        _flush(path)


def versions() -> dict[str, str]:
    """Versions of what made a checkpoint."""
    found = {"fcdist": fcdist.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _everywhere(action: Any, where: str) -> None:
    """Run `action` on every rank; if it fails on one, all raise, so that none waits for it."""
    problem = ""
    try:
        action()
    except (CheckpointError, OSError) as error:
        problem = str(error) if isinstance(error, CheckpointError) else f"{where}: {error}"
    problems = [f"rank {rank}: {text}" for rank, text in enumerate(gather_objects(problem)) if text]
    if problems:
        raise CheckpointError("; ".join(problems))


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        (folder / ENGINE).mkdir(parents=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be made: {error}") from None


def _by_step(folder: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= _flatten(item, f"{name}.") if isinstance(item, Mapping) else {name: item}
    return flat


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
