"""OpenAPI 3.0 and 3.1: one tool per operation; its parameters and the fields of its JSON body are the arguments."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from data_pipeline.importers.raw import RawTool, Refusal, RefusedError
from fcdist.errors import ConfigError

METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_BASE = "urn:document"
_IGNORED_HEADERS = ("accept", "content-type", "authorization")
"""The specification leaves these to the transport."""
_DROPPED = ("xml", "externalDocs", "discriminator", "example", "nullable", "readOnly", "writeOnly", "deprecated")


def read_openapi(document: Mapping[str, Any], path: Path) -> Iterator[RawTool | Refusal]:
    """Yield each operation as a tool, or why it cannot be one. Raises ConfigError for a document without paths."""
    version, paths = str(document["openapi"]), document.get("paths")
    if not version.startswith("3."):
        raise ConfigError(f"generate.catalogue: {path} is OpenAPI {version}; 3.0 and 3.1 are read")
    if not isinstance(paths, Mapping) or not paths:
        raise ConfigError(
            f"generate.catalogue: {path} has no `paths`: an OpenAPI document needs at least one operation"
        )
    local = json.loads(json.dumps(document, default=str).replace('"$ref": "#/', f'"$ref": "{_BASE}#/'))
    resolver = _Resolver(jsonschema_rs.Registry([(_BASE, local)]))
    title = str((document.get("info") or {}).get("title") or path.stem)
    for route, item in local["paths"].items():
        for method in METHODS:
            if not isinstance(item, Mapping) or not isinstance(operation := item.get(method), Mapping):
                continue
            where = f"{path}: {method.upper()} {route}"
            name = _name(operation, method, route)
            try:
                yield _operation(operation, item.get("parameters") or [], name, method, where, title, resolver)
            except RefusedError as error:
                yield Refusal(where, name, error.reason, error.detail)


class _Resolver:
    def __init__(self, registry: jsonschema_rs.Registry) -> None:
        self._registry = registry

    def __call__(self, value: Any) -> Any:
        """`value` with every reference replaced by what it points to; circular ones stay."""
        try:
            return jsonschema_rs.dereference(value, registry=self._registry, offline=True)
        except (jsonschema_rs.ReferencingError, ValueError) as error:
            raise RefusedError("unresolved_reference", f"{error}; references must stay inside the document") from None


def _name(operation: Mapping[str, Any], method: str, route: str) -> str:
    """`operationId`, or method and path: GET /users/{id} → get_users_by_id."""
    chosen = operation.get("operationId") or method + re.sub(r"\{(\w+)\}", r"by_\1", route).replace("/", "_")
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(chosen)).strip("_")


def _operation(
    operation: Mapping[str, Any],
    shared: list[Any],
    name: str,
    method: str,
    where: str,
    title: str,
    resolve: _Resolver,
) -> RawTool:
    properties: dict[str, Any] = {}
    required: list[str] = []
    declared = {(p.get("name"), p.get("in")): p for p in map(resolve, [*shared, *(operation.get("parameters") or [])])}
    for (key, place), parameter in declared.items():
        if place == "cookie" or (place == "header" and str(key).lower() in _IGNORED_HEADERS):
            continue
        fragment = schema_of(parameter.get("schema") or _first_schema(parameter.get("content")) or {})
        if parameter.get("description"):
            fragment["description"] = parameter["description"]
        if "example" in parameter:
            fragment["examples"] = [parameter["example"]]
        properties[str(key)] = fragment
        if parameter.get("required") or place == "path":
            required.append(str(key))
    if operation.get("requestBody"):
        _add_body(resolve(operation["requestBody"]), method, properties, required)
    summary, longer = (str(operation.get(key) or "").strip() for key in ("summary", "description"))
    text = f"{summary.rstrip('.')}. {longer}" if summary and longer and summary != longer else summary or longer
    tags = operation.get("tags") or [title]
    return RawTool(
        name=name,
        description=text,
        parameters={"type": "object", "properties": properties, "required": required},
        group=str(tags[0]),
        where=where,
        returns=_response(resolve(operation.get("responses") or {})),
        hints={"method": method},
    )


def _add_body(body: Mapping[str, Any], method: str, properties: dict[str, Any], required: list[str]) -> None:
    """The fields of an object body stand beside the parameters; any other body is the argument `body`."""
    content = body.get("content") or {}
    schema = _first_schema(content)
    if schema is None:
        if body.get("required"):
            raise RefusedError(
                "body_not_json",
                f"its required body is {', '.join(content) or 'undeclared'}, not JSON; declare a JSON body",
            )
        return
    schema = _merged(schema_of(schema, leave_out="readOnly"))
    if schema.get("type") != "object" or not schema.get("properties"):
        properties["body"] = schema
        required += ["body"] if body.get("required") else []
        return
    # Documents seldom say that the body itself is required; a creation without its required fields is not meant.
    needed = schema.get("required", []) if body.get("required") or method in ("post", "put") else []
    for key, fragment in schema["properties"].items():
        public = f"body_{key}" if key in properties else key
        properties[public] = fragment
        if key in needed:
            required.append(public)


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """An `allOf` of objects as one object, so that its fields are arguments like any others'."""
    parts = [_merged(part) for part in schema.get("allOf") or []]
    if not parts or not all(isinstance(part.get("properties"), Mapping) for part in parts):
        return schema
    own = {key: value for key, value in schema.items() if key != "allOf"}
    together = [*parts, own]
    return {
        **own,
        "type": "object",
        "properties": {key: value for part in together for key, value in (part.get("properties") or {}).items()},
        "required": list(dict.fromkeys(key for part in together for key in part.get("required") or ())),
    }


def _first_schema(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return None
    for kind, entry in content.items():
        if "json" in kind or kind in ("application/x-www-form-urlencoded", "*/*"):
            return (entry or {}).get("schema")
    return None


def _response(responses: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for status, response in sorted((str(status), response) for status, response in responses.items()):
        if status.startswith("2") and isinstance(response, Mapping):
            found = _first_schema(response.get("content"))
            return schema_of(found, leave_out="writeOnly") if found else None
    return None


def schema_of(schema: Any, leave_out: str = "") -> dict[str, Any]:
    """JSON Schema of an OpenAPI schema: `nullable`, `example` and the boolean exclusive bounds of 3.0 are rewritten.

    Args:
        schema: without references.
        leave_out: drop properties that carry this flag (`readOnly` in requests, `writeOnly` in responses).
    """
    if not isinstance(schema, Mapping):
        return {}
    out = {key: value for key, value in schema.items() if key not in _DROPPED and not str(key).startswith("x-")}
    if isinstance(schema.get("properties"), Mapping):
        kept = {k: v for k, v in schema["properties"].items() if not (isinstance(v, Mapping) and v.get(leave_out))}
        out["properties"] = {key: schema_of(value, leave_out) for key, value in kept.items()}
        if "required" in out:
            out["required"] = [key for key in out["required"] if key in kept]
    for key in ("allOf", "anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            out[key] = [schema_of(item, leave_out) for item in schema[key]]
    for key in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(key), Mapping):
            out[key] = schema_of(schema[key], leave_out)
    for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(out.get(key), bool):
            exclusive = out.pop(key)
            if exclusive and bound in out:
                out[key] = out.pop(bound)
    if schema.get("nullable") and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    if "example" in schema and "examples" not in out:
        out["examples"] = [schema["example"]]
    return out
