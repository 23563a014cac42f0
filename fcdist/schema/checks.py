"""Structural rules every conversation keeps, whoever wrote it. Code-only facts; style and truth are gates' business."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs

from fcdist.errors import SchemaError
from fcdist.schema.conversation import Conversation, Message, Tool
from fcdist.schema.json_text import json_reader

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]{0,127}")


def check_conversation(conversation: Conversation, tools_checked: bool = False) -> None:
    """Raise SchemaError at the first broken rule; `tools_checked`: `check_tools` has passed them before.

    Rules: tools are valid and have distinct names; at most one system message, first; turns alternate
    user → assistant (→ tool results → assistant)*; every call names an offered tool and carries a JSON object that
    fits the tool's schema; every call is answered, in order, before the assistant speaks again, unless it is the last
    message; the last message is the assistant's.
    """
    if not tools_checked:
        check_tools(conversation.tools)
    by_name = {tool.name: tool for tool in conversation.tools}
    messages = conversation.messages
    if not messages:
        raise SchemaError("messages is empty; a conversation needs at least a user's and an assistant's turn")
    if messages[-1].role != "assistant":
        raise SchemaError(f"messages[{len(messages) - 1}] is {messages[-1].role}; the last must be the assistant's")
    expected, pending = {"system", "user"}, []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.role not in expected:
            raise SchemaError(f"{where}.role is {message.role}; here it must be {' or '.join(sorted(expected))}")
        if message.role == "assistant":
            _check_assistant(message, by_name, where)
            pending = [call.id for call in message.tool_calls]
            expected = {"tool"} if pending else {"user"}
        elif message.role == "tool":
            _check_result(message, pending, where)
            pending = pending[1:]
            expected = {"tool"} if pending else {"assistant"}
        else:
            if message.content is None or not message.content.strip():
                raise SchemaError(f"{where} ({message.role}) has no content")
            if message.tool_calls:
                raise SchemaError(f"{where} ({message.role}) has tool_calls; only the assistant calls")
            expected = {"user"} if message.role == "system" else {"assistant"}


def check_tools(tools: Iterable[Tool]) -> None:
    """Raise SchemaError unless names are distinct and usable and parameters are JSON Schemas of an object."""
    seen: set[str] = set()
    for i, tool in enumerate(tools):
        where = f"tools[{i}] ({tool.name!r})"
        if not TOOL_NAME.fullmatch(tool.name):
            raise SchemaError(f"{where}: the name must match {TOOL_NAME.pattern}")
        if tool.name in seen:
            raise SchemaError(f"{where}: another tool has this name")
        seen.add(tool.name)
        if tool.parameters.get("type", "object") != "object":
            raise SchemaError(f"{where}: parameters.type is {tool.parameters['type']!r}; it must be 'object'")
        _validator(tool, where)


def check_arguments(tool: Tool, arguments: str, where: str = "arguments") -> dict[str, Any]:
    """Decode a call's arguments and hold them against the tool's schema.

    Returns:
        The decoded object.

    Raises:
        SchemaError: not JSON, not an object, or the first rule of the schema that is broken.
    """
    try:
        value = _read(arguments)
    except ValueError as error:
        raise SchemaError(f"{where} of {tool.name} is not JSON ({error}): {arguments[:80]!r}") from None
    if not isinstance(value, dict):
        raise SchemaError(f"{where} of {tool.name} must be a JSON object, got {type(value).__name__}")
    # JSON Schema leaves objects open by default; an invented argument is an error all the same.
    properties = tool.parameters.get("properties", {})
    unknown = [key for key in value if key not in properties]
    if unknown and not _is_open(tool.parameters):
        raise SchemaError(f"{where} of {tool.name} has unknown {unknown[0]!r}; known: {', '.join(properties)}")
    try:
        _validator(tool, where).validate(value)
    except jsonschema_rs.ValidationError as error:
        path = ".".join(str(step) for step in error.instance_path) or "the object"
        raise SchemaError(f"{where} of {tool.name}: {path}: {error.message}") from None
    return value


def _is_open(parameters: Mapping[str, Any]) -> bool:
    composed = any(key in parameters for key in ("patternProperties", "$ref", "allOf", "anyOf", "oneOf"))
    return composed or parameters.get("additionalProperties", False) is not False


def _check_assistant(message: Message, by_name: dict[str, Tool], where: str) -> None:
    if not message.tool_calls and not (message.content or "").strip():
        raise SchemaError(f"{where} (assistant) has neither content nor tool_calls")
    ids = [call.id for call in message.tool_calls]
    if len(set(ids)) != len(ids):
        raise SchemaError(f"{where}.tool_calls share an id: {', '.join(ids)}")
    for j, call in enumerate(message.tool_calls):
        if call.name not in by_name:
            offered = ", ".join(by_name) or "none"
            raise SchemaError(f"{where}.tool_calls[{j}] calls unknown tool {call.name!r}; offered: {offered}")
        check_arguments(by_name[call.name], call.arguments, f"{where}.tool_calls[{j}].arguments")


def _check_result(message: Message, pending: list[str], where: str) -> None:
    if message.content is None:
        raise SchemaError(f"{where} (tool) has no content")
    if message.tool_call_id is not None and message.tool_call_id != pending[0]:
        raise SchemaError(f"{where}.tool_call_id is {message.tool_call_id!r}; the next open call is {pending[0]!r}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


_read = json_reader(json.JSONDecoder(parse_constant=_refuse_constant))


def _refuse_reference(uri: str) -> None:
    # Data must not make a reader open files or connections.
    raise ValueError(f"a $ref must stay inside the schema, this one points to {uri}")


@lru_cache(maxsize=2048)  # about 6 KiB each; generated tools are never seen again
def _compiled(schema: str) -> Any:
    return jsonschema_rs.validator_for(schema, retriever=_refuse_reference)


def _validator(tool: Tool, where: str) -> Any:
    try:
        return _compiled(tool.schema)
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise SchemaError(f"{where}: not a valid JSON Schema: {str(error).splitlines()[0]}") from None
