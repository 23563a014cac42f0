"""JSON Schemas of arguments, made plain: references inlined, `allOf` merged, one alternative chosen, null left out."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from data_pipeline.importers.raw import RefusedError

_KNOWN = ("string", "integer", "number", "boolean", "array", "object")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
MAX_DEPTH = 4
"""Levels of nesting that a request can still put into words."""


def inline(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` with every `$ref` replaced; circular ones stay.

    Raises:
        RefusedError: not a valid JSON Schema, or a reference that leads nowhere or out of the schema.
    """
    try:
        jsonschema_rs.meta.validate(dict(schema))
    except jsonschema_rs.ValidationError as error:
        path = ".".join(map(str, error.instance_path)) or "the root"
        raise RefusedError("invalid_schema", f"{path}: {error.message[:120]}") from None
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise RefusedError("invalid_schema", str(error)[:160]) from None
    try:
        found: dict[str, Any] = jsonschema_rs.dereference(dict(schema), offline=True)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise RefusedError("unresolved_reference", f"{str(error)[:120]}; `$ref` must stay inside the schema") from None
    return found


def settle(schema: Any, depth: int = 0) -> dict[str, Any]:
    """One plain alternative of a dereferenced schema: `type` is a single name, no `allOf`, `anyOf`, `oneOf`, `const`.

    Whatever fits the result fits `schema` as far as types, bounds, enums and properties go; callers hold drawn values
    against the whole schema, because `not`, `if` and the like are not followed.

    Raises:
        RefusedError: circular, too deep, or no type can be told.
    """
    if depth > MAX_DEPTH:
        raise RefusedError("too_deep", f"more than {MAX_DEPTH} levels of nesting cannot be asked for in a sentence")
    if not isinstance(schema, Mapping):
        raise RefusedError("untyped_parameter", "its schema says nothing about its type")
    if "$ref" in schema:
        raise RefusedError("circular_schema", f"{schema['$ref']} contains itself")
    node = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf", "const")}
    if "const" in schema:
        node["enum"] = [schema["const"]]
    for part in schema.get("allOf") or []:
        node = _merge(node, settle(part, depth + 1) if _is_typed(part) else part)
    for key in ("anyOf", "oneOf"):
        if options := schema.get(key):
            node = _merge(node, _choose(options, depth))
    node["type"] = _type(node)
    if "enum" in node:
        node["enum"] = [value for value in node["enum"] if value is not None]
        if not node["enum"] or any(isinstance(value, dict | list) for value in node["enum"]):
            raise RefusedError("enum_of_structures", "its enum lists objects, arrays or nothing")
    return node


def _is_typed(schema: Any) -> bool:
    keys = ("type", "properties", "enum", "const", "items", "allOf", "anyOf", "oneOf")
    return isinstance(schema, Mapping) and any(key in schema for key in keys)


def _choose(options: list[Any], depth: int) -> dict[str, Any]:
    """The alternatives' common enum, or the first of them that can be settled."""
    real = [option for option in options if not (isinstance(option, Mapping) and option.get("type") == "null")]
    if real and all(isinstance(o, Mapping) and ("const" in o or "enum" in o) for o in real):
        values = [value for o in real for value in ([o["const"]] if "const" in o else o["enum"])]
        return {"enum": list(dict.fromkeys(values))}
    refused: RefusedError | None = None
    for option in real:
        if not _is_typed(option):
            return dict(option) if isinstance(option, Mapping) else {}
        try:
            return settle(option, depth + 1)
        except RefusedError as error:
            refused = refused or error
    raise refused or RefusedError("untyped_parameter", "its alternatives allow nothing but null")


def _merge(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once: properties and required add up, bounds tighten, enums intersect."""
    out = dict(first)
    for key, value in second.items():
        if key not in out:
            out[key] = value
        elif key == "properties":
            out[key] = {**out[key], **value}
        elif key == "required":
            out[key] = list(dict.fromkeys([*out[key], *value]))
        elif key == "enum":
            out[key] = [item for item in out[key] if item in value]
        elif key in _LOWER:
            out[key] = max(out[key], value)
        elif key in _UPPER:
            out[key] = min(out[key], value)
    return out


def _type(node: Mapping[str, Any]) -> str:
    declared = node.get("type")
    names = declared if isinstance(declared, list) else [declared] if declared else []
    names = [name for name in names if name != "null"]
    if not names and node.get("enum"):
        value = next((v for v in node["enum"] if v is not None), None)
        names = [{bool: "boolean", int: "integer", float: "number"}.get(type(value), "string")]
    if not names and ("properties" in node or "additionalProperties" in node):
        names = ["object"]
    if not names and "items" in node:
        names = ["array"]
    if not names and ("pattern" in node or "format" in node or "minLength" in node):
        names = ["string"]
    for name in _KNOWN:
        if name in names:
            return name
    raise RefusedError("untyped_parameter", "its schema names no type; add `type`")
