"""Tools from Python source: signature, annotations and docstring, read from the syntax tree. Nothing is executed."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docstring_parser

from data_pipeline.importers.raw import RawTool, Refusal, RefusedError
from fcdist.errors import ConfigError

_SIMPLE: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "Decimal": {"type": "number"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "UUID": {"type": "string", "format": "uuid"},
    "Path": {"type": "string"},
    "EmailStr": {"type": "string", "format": "email"},
    "AnyUrl": {"type": "string", "format": "uri"},
    "HttpUrl": {"type": "string", "format": "uri"},
    "list": {"type": "array"},
    "List": {"type": "array"},
    "dict": {"type": "object"},
    "Dict": {"type": "object"},
    "Any": {},
    "object": {},
}
_LISTS = ("list", "List", "Sequence", "Iterable", "set", "Set", "frozenset", "tuple", "Tuple")
_MAPPINGS = ("dict", "Dict", "Mapping")
_INJECTED = ("self", "cls")
_CONTEXTS = ("Context", "RunContext", "ToolContext")
"""Annotations of arguments that a framework passes, not the model."""


def read_python(source: str, path: Path, function: str = "") -> Iterator[RawTool | Refusal]:
    """Yield the public functions of a module as tools (only `function`, if given).

    Raises:
        ConfigError: the file is not Python, or has no such function.
    """
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise ConfigError(f"generate.catalogue: {path}:{error.lineno} is not Python: {error.msg}") from None
    types = _Types(module)
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    wanted = [f for f in functions if f.name == function or (not function and not f.name.startswith("_"))]
    if not wanted:
        known = ", ".join(f.name for f in functions) or "none"
        raise ConfigError(f"generate.catalogue: {path} has no function {function or 'that is public'}; it has: {known}")
    for node in wanted:
        where = f"{path}:{node.lineno}"
        try:
            yield _function(node, types, path, where)
        except RefusedError as error:
            yield Refusal(where, node.name, error.reason, error.detail)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, types: "_Types", path: Path, where: str) -> RawTool:
    doc = docstring_parser.parse(ast.get_docstring(node) or "")
    told = {param.arg_name: param.description for param in doc.params}
    positional = [*node.args.posonlyargs, *node.args.args]
    absent: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
    pairs = list(zip(positional, [*absent, *node.args.defaults], strict=True))
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for argument, default in pairs:
        annotation = argument.annotation
        if argument.arg in _INJECTED or (annotation is not None and _last_name(annotation) in _CONTEXTS):
            continue
        if annotation is None:
            raise RefusedError("no_type", f"parameter {argument.arg} has no annotation; give it a type")
        fragment = types.schema(annotation, argument.arg)
        if text := told.get(argument.arg):
            fragment["description"] = " ".join(text.split())
        if default is None:
            required.append(argument.arg)
        elif (value := _constant(default)) is not None:
            fragment["default"] = value
        properties[argument.arg] = fragment
    return RawTool(
        name=node.name,
        description="\n".join(part for part in (doc.short_description, doc.long_description) if part),
        parameters={"type": "object", "properties": properties, "required": required},
        group=path.stem,
        where=where,
        returns=_returns(node, types),
    )


def _returns(node: ast.FunctionDef | ast.AsyncFunctionDef, types: "_Types") -> dict[str, Any] | None:
    if node.returns is None:
        return None
    try:
        return types.schema(node.returns, "return") or None
    except RefusedError:
        return None  # the result only has to be read; an opaque type there says nothing


def _constant(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return None
    return list(value) if isinstance(value, tuple | set) else value


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.id if isinstance(node, ast.Name) else ""


class _Types:
    """Annotations of one module, with the classes and aliases it defines."""

    def __init__(self, module: ast.Module) -> None:
        self._classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        self._aliases = {
            node.targets[0].id: node.value
            for node in module.body
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        }
        self._open: list[str] = []

    def schema(self, node: ast.expr, parameter: str) -> dict[str, Any]:
        """JSON Schema of an annotation. Raises RefusedError for a type that JSON has no form of."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.Constant) and node.value is None:
            return {"type": "null"}
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return _either([self.schema(side, parameter) for side in (node.left, node.right)])
        name = _last_name(node)
        if isinstance(node, ast.Subscript):
            return self._generic(name, node, parameter)
        if name in _SIMPLE:
            return dict(_SIMPLE[name])
        if name in self._classes and name not in self._open:
            self._open.append(name)
            found = self._class(self._classes[name], parameter)
            self._open.pop()
            return found
        if name in self._aliases:
            return self.schema(self._aliases[name], parameter)
        raise RefusedError(
            "unknown_type",
            f"parameter {parameter} is annotated {ast.unparse(node)!r}; use JSON types, Literal, an Enum, dataclass, "
            "TypedDict or pydantic model of the same file",
        )

    def _generic(self, name: str, node: ast.Subscript, parameter: str) -> dict[str, Any]:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        build: Callable[[ast.expr], dict[str, Any]] = lambda item: self.schema(item, parameter)  # noqa: E731
        if name == "Literal":
            values = [_constant(item) for item in inner]
            return {"type": _json_type(values[0]), "enum": values}
        if name == "Optional":
            return _either([build(inner[0]), {"type": "null"}])
        if name == "Union":
            return _either([build(item) for item in inner])
        if name == "Annotated":
            texts = [c.value for c in ast.walk(node.slice) if isinstance(c, ast.Constant) and isinstance(c.value, str)]
            return {**build(inner[0]), **({"description": texts[-1]} if texts else {})}
        if name in _LISTS:
            return {"type": "array", "items": build(inner[0])}
        if name in _MAPPINGS:
            return {"type": "object", "additionalProperties": build(inner[-1]) or True}
        raise RefusedError("unknown_type", f"parameter {parameter} is annotated {ast.unparse(node)!r}")

    def _class(self, node: ast.ClassDef, parameter: str) -> dict[str, Any]:
        bases = {_last_name(base) for base in node.bases}
        if bases & {"Enum", "StrEnum", "IntEnum"}:
            values = [_constant(item.value) for item in node.body if isinstance(item, ast.Assign)]
            return {"type": _json_type(values[0]), "enum": values} if values else {}
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)]
        if not fields:
            raise RefusedError("unknown_type", f"parameter {parameter}: class {node.name} declares no annotated field")
        names = [item.target.id for item in fields if isinstance(item.target, ast.Name)]
        return {
            "type": "object",
            "properties": {n: self.schema(item.annotation, n) for n, item in zip(names, fields, strict=True)},
            "required": [n for n, item in zip(names, fields, strict=True) if item.value is None],
        }


def _json_type(value: Any) -> str:
    return {bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")


def _either(options: list[dict[str, Any]]) -> dict[str, Any]:
    real = [option for option in options if option != {"type": "null"}]
    return dict(real[0]) if len(real) == 1 else {"anyOf": real}
