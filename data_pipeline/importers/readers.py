"""Reads tools from files: OpenAI functions, MCP `tools/list`, OpenAPI documents, Python modules, folders of them.

Nothing a file holds is executed, and no reference leaves the file.
"""

import json
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.importers.openapi import read_openapi
from data_pipeline.importers.python_functions import read_python
from data_pipeline.importers.raw import RawTool, Refusal, RefusedError
from fcdist.errors import ConfigError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".py")
_SCHEMA_KEYS = ("parameters", "inputSchema", "input_schema")
"""Where OpenAI, MCP and Anthropic keep the schema of the arguments."""


def files_of(entry: str) -> list[Path]:
    """Files of a `generate.catalogue` entry: a file, a folder, or `package.module`, with or without `:function`.

    Raises:
        ConfigError: there is no such file, folder or module.
    """
    name = entry.rpartition(":")[0] if _has_function(entry) else entry
    path = Path(name)
    if path.is_dir():
        if found := sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file()):
            return found
        raise ConfigError(f"generate.catalogue: folder {path} holds no {', '.join(SUFFIXES)} file")
    if path.is_file():
        return [path]
    if module := _module_file(name):
        return [module]
    raise ConfigError(
        f"generate.catalogue: {entry!r} is neither a file, a folder nor a Python module. It takes `builtin`, a file "
        f"({', '.join(SUFFIXES)}), a folder, `module.py:function` or `package.module:function`."
    )


def _has_function(entry: str) -> bool:
    head, colon, function = entry.rpartition(":")
    return bool(colon) and function.isidentifier() and (head.endswith(".py") or "/" not in head)


def _module_file(name: str) -> Path | None:
    """Source of a module, found without importing its packages."""
    search: list[str] | None = None
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for number, part in enumerate(parts):
        spec = PathFinder.find_spec(".".join(parts[: number + 1]) if search else part, search)
        if spec is None:
            return None
        search = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def read_entry(entry: str) -> Iterator[RawTool | Refusal]:
    """Tools of one `generate.catalogue` entry, in the order of its files.

    Raises:
        ConfigError: a file cannot be read, or is none of the known forms.
    """
    function = entry.rpartition(":")[2] if _has_function(entry) else ""
    for path in files_of(entry):
        yield from read_file(path, function)


def read_file(path: Path, function: str = "") -> Iterator[RawTool | Refusal]:
    """Tools of one file; of a Python module those called `function`, if given. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"generate.catalogue: {path} cannot be read: {error}") from None
    if path.suffix == ".py":
        yield from read_python(text, path, function)
    elif path.suffix in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                yield from _from_value(_json(line, f"{path}:{number}"), path, f":{number}")
    elif path.suffix in (".yaml", ".yml"):
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"generate.catalogue: {path} is not YAML: {' '.join(str(error).split())}") from None
        yield from _from_value(value, path, "")
    else:
        yield from _from_value(_json(text, str(path)), path, "")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"generate.catalogue: {where} is not JSON: {error}") from None


def _from_value(value: Any, path: Path, place: str) -> Iterator[RawTool | Refusal]:
    if isinstance(value, Mapping) and "openapi" in value:
        yield from read_openapi(value, path)
        return
    if isinstance(value, Mapping) and "swagger" in value:
        raise ConfigError(
            f"generate.catalogue: {path} is Swagger {value['swagger']}; only OpenAPI 3.0 and 3.1 are read. "
            "Convert it, for example with `npx swagger2openapi`."
        )
    yield from _from_list(value, path, place, path.stem)


def _from_list(value: Any, path: Path, place: str, group: str) -> Iterator[RawTool | Refusal]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _from_list(item, path, f"{place}[{number}]", group)
        return
    if isinstance(value, Mapping) and isinstance(value.get("result"), Mapping):
        value = value["result"]
    if isinstance(value, Mapping) and isinstance(value.get("tools"), list):
        server = value.get("server") or value.get("serverInfo") or group
        server = server.get("name", group) if isinstance(server, Mapping) else server
        yield from _from_list(value["tools"], path, f"{place}.tools", str(server))
        return
    where = f"{path}{place}"
    try:
        yield _tool(value, where, group)
    except RefusedError as error:
        name = value.get("name") if isinstance(value, Mapping) else None
        yield Refusal(where, str(name or "?"), error.reason, error.detail)


def _tool(item: Any, where: str, group: str) -> RawTool:
    function = item.get("function", item) if isinstance(item, Mapping) else item
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise RefusedError(
            "not_a_tool", "expected an object with a name, as in OpenAI `tools` or an MCP `tools/list` result"
        )
    declared = next((function[key] for key in _SCHEMA_KEYS if function.get(key) is not None), None)
    if declared is not None and not isinstance(declared, Mapping):
        raise RefusedError("invalid_schema", f"its parameters are {type(declared).__name__}, not a JSON Schema object")
    returns = function.get("outputSchema")
    return RawTool(
        name=function["name"],
        description=str(function.get("description") or ""),
        parameters=declared or {"type": "object", "properties": {}},
        group=group,
        where=where,
        returns=returns if isinstance(returns, Mapping) else None,
    )
