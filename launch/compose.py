"""Hydra, once: overrides → one typed, frozen Config. Workers never see Hydra."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fcdist.config.mapping import from_mapping, to_mapping
from fcdist.config.types import Config
from fcdist.errors import ConfigError
from launch.paths import absolute_paths
from launch.resources import resource_dir

ROOT = "config"
OPTIONAL = "experiment"
"""The one group that may be left out."""


def compose(overrides: Sequence[str]) -> Config:
    """Compose `conf/` with the command line's overrides.

    Raises:
        ConfigError: unknown key or group option (with the nearest known), wrong type, or a value out of range.
    """
    conf = resource_dir("conf")
    parsed = _parse(overrides)
    arguments = [_checked(override, conf) for override in parsed]
    ConfigStore.instance().store(name="schema", node=to_mapping(Config()))
    try:
        with initialize_config_dir(config_dir=str(conf), version_base="1.3"):
            composed = hydra_compose(config_name=ROOT, overrides=arguments)
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_reason(error)) from None
    return absolute_paths(from_mapping(Config, plain))


def recompose(run_dir: Path, overrides: Sequence[str], name: str) -> Config:
    """The frozen config of a run with some values or groups (`launch=slurm`) changed.

    Raises:
        ConfigError: no frozen config, an unknown key, or a group that sets several parts of the config (model,
            experiment): those began the run.
    """
    path = run_dir / name
    if not path.is_file():
        raise ConfigError(f"--run {run_dir}: no {name} there; is it a run folder?")
    frozen = OmegaConf.create(yaml.safe_load(path.read_text(encoding="utf-8")))
    conf = resource_dir("conf")
    for override in _parse(overrides):
        key = override.key_or_group
        if _options(conf, key):
            frozen = OmegaConf.merge(frozen, {key: _group(conf, key, override.value())})
            continue
        _check_key(key)
        OmegaConf.update(frozen, key, override.value(), merge=False, force_add=True)
    config = from_mapping(Config, OmegaConf.to_container(frozen, resolve=True))
    return dataclasses.replace(absolute_paths(config), run_dir=str(run_dir.resolve()))


def _group(conf: Path, group: str, option: object) -> Any:
    """Content of one option of a group that fills the config's key of the same name."""
    _check_option(conf, group, option)
    text = (conf / group / f"{option}.yaml").read_text(encoding="utf-8")
    if "@package _global_" in text:
        raise ConfigError(
            f"{group}={option}: the run was begun with its {group}, which cannot be chosen again with --run; "
            "set single keys, or begin another run"
        )
    return yaml.safe_load(text) or {}


def _check_option(conf: Path, group: str, option: object) -> None:
    """Raise ConfigError with the nearest option if the group has none called `option`."""
    known = _options(conf, group)
    if option in known:
        return
    near = difflib.get_close_matches(str(option), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    shown = "null" if option is None else option
    raise ConfigError(f"{group}={shown}: no such option{hint} Known: {', '.join(known)}")


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    return [_parse_one(parser, line) for line in overrides]


def _parse_one(parser: OverridesParser, line: str) -> Override:
    try:
        override: Override = parser.parse_override(line)
    except HydraException as error:
        raise ConfigError(
            f"{line}: cannot be read ({_reason(error)}). Overrides are KEY=VALUE; quote values with blanks or "
            "brackets: 'key=\"a b\"'"
        ) from None
    if not override.key_or_group:
        raise ConfigError(f"{line}: the key is missing. Overrides are KEY=VALUE")
    return override


def _reason(error: Exception) -> str:
    """What Hydra or OmegaConf says, with the key that it tells apart and the cause of a failed merge."""
    text = " ".join(str(getattr(error, "msg", None) or error).split()).partition(" See https://")[0]
    cause = " ".join(str(error.__cause__ or "").split())
    key = getattr(error, "full_key", None)
    parts = [key, text, cause if text.startswith("Error merging") else ""]
    return ": ".join(part for part in parts if part)


def _checked(override: Override, conf: Path) -> str:
    """The override as Hydra takes it, after its key was found in the config or among the groups."""
    line = override.input_line or ""
    key = override.key_or_group
    if _options(conf, key):
        if override.is_delete() or (key == OPTIONAL and override.value() is None):
            return f"~{key}"
        _check_option(conf, key, override.value())
        return line
    # Entries of open mappings (data.sources.NAME, sweep.grid, launch.env) do not exist before they are set.
    return f"++{line}" if _check_key(key) and not line.startswith(("+", "~")) else line


def _options(conf: Path, group: str) -> list[str]:
    folder = conf / group
    return sorted(path.stem for path in folder.glob("*.yaml")) if "." not in group and folder.is_dir() else []


def _check_key(key: str) -> bool:
    """True if `key` is an open mapping or lies inside one. Raises ConfigError with the nearest key if there is none."""
    kind: Any = Config
    walked: list[str] = []
    is_open = False
    for name in key.split("."):
        if typing.get_origin(kind) is dict:
            kind, is_open = typing.get_args(kind)[1], True
        elif dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            if name not in hints:
                near = difflib.get_close_matches(name, hints, n=1)
                place = ".".join(walked)
                hint = f"did you mean {'.'.join([*walked, near[0]])}?" if near else f"known here: {', '.join(hints)}"
                raise ConfigError(f"unknown key {key}{f' (in {place})' if place else ''}; {hint}")
            kind = hints[name]
        elif kind is not Any:
            raise ConfigError(f"unknown key {key}: {'.'.join(walked)} is a single value")
        walked.append(name)
    return is_open or typing.get_origin(kind) is dict


def describe(config: Config) -> str:
    """The config as YAML, for `--cfg`."""
    plain: Mapping[str, Any] = to_mapping(config)
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
