"""Between plain mappings (YAML, Hydra) and frozen dataclasses, strictly: typos and wrong types are errors."""

import dataclasses
import difflib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fcdist.errors import ConfigError

T = TypeVar("T")


def from_mapping(kind: type[T], value: object, key: str = "") -> T:
    """Build the dataclass `kind` from nested mappings.

    Args:
        kind: a dataclass whose fields are scalars, Literals, tuples, dicts with text keys, or dataclasses.
        value: decoded YAML.
        key: full key of `value`, quoted in errors.

    Raises:
        ConfigError: unknown key (with the nearest known one), missing key or wrong type, by full key.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key or 'config'} must be a mapping, got {value!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = get_type_hints(kind)
    for name in value:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"; did you mean {_join(key, near[0])}?" if near else f"; known here: {', '.join(fields)}"
            raise ConfigError(f"unknown key {_join(key, str(name))}{hint}")
    given = {name: _convert(hints[name], item, _join(key, name)) for name, item in value.items()}
    try:
        return kind(**given)
    except TypeError:
        missing = [n for n, f in fields.items() if n not in given and _is_required(f)]
        if not missing:
            raise
        raise ConfigError(f"{_join(key, missing[0])} is required but not set") from None


def to_mapping(config: object) -> dict[str, Any]:
    """Nested plain dicts and lists of a config dataclass, for YAML and fingerprints."""
    return _plain(dataclasses.asdict(config))  # type: ignore[call-overload, no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, key)
    if origin is Literal:
        if not any(value == arg and type(value) is type(arg) for arg in args):
            raise ConfigError(f"{key}={value!r} is not one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise ConfigError(f"{key} must be a list, got {value!r}")
        return tuple(_convert(args[0], item, f"{key}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a mapping, got {value!r}")
        return {str(name): _convert(args[1], item, _join(key, str(name))) for name, item in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, key)
    if hint is Any:
        return value
    return _scalar(hint, value, key)


def _scalar(hint: type, value: Any, key: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{key} must be {hint.__name__}, got {value!r}")


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted key."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= flatten(item, f"{name}.") if isinstance(item, Mapping) else {name: item}
    return flat
