"""Conversations in OpenAI wire form: `messages` + `tools`, arguments as JSON text.

The reader is strict: a field it does not know raises, because a silently dropped field is a silently wrong example.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

from fcdist.errors import SchemaError
from fcdist.schema.json_text import json_text

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True)  # no slots: what is worked out of the parameters is kept
class Tool:
    """One function offered to the model."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of the arguments object, as given (key order is kept: it is part of the prompt)."""
    strict: bool | None = None

    @cached_property
    def schema(self) -> str:
        """`parameters` as JSON text."""
        return json_text(self.parameters)

    @cached_property
    def function_text(self) -> str:
        """What `to_wire` has under `function`, as JSON text, made once for all conversations that offer the tool."""
        head = json_text({"name": self.name, "description": self.description})[:-1]
        strict = "" if self.strict is None else f', "strict": {json_text(self.strict)}'
        return f'{head}, "parameters": {self.schema}{strict}}}'

    def to_wire(self) -> dict[str, Any]:
        """OpenAI `tools` entry."""
        function: dict[str, Any] = {"name": self.name, "description": self.description, "parameters": self.parameters}
        if self.strict is not None:
            function["strict"] = self.strict
        return {"type": "function", "function": function}

    @classmethod
    def from_wire(cls, wire: object, where: str = "tool") -> "Tool":
        """Read an OpenAI `tools` entry. Raises SchemaError naming `where` and the field."""
        outer = _fields(wire, where, required=("function",), optional=("type",))
        if outer.get("type", "function") != "function":
            raise SchemaError(f"{where}.type is {outer['type']!r}; only 'function' is known")
        inner = _fields(
            outer["function"],
            f"{where}.function",
            required=("name",),
            optional=("description", "parameters", "strict"),
        )
        parameters = inner.get("parameters")
        if parameters is None:
            parameters = {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise SchemaError(f"{where}.function.parameters must be an object, got {type(parameters).__name__}")
        return cls(
            name=_text(inner["name"], f"{where}.function.name"),
            description=_text(inner.get("description") or "", f"{where}.function.description"),
            parameters=parameters,
            strict=_optional_bool(inner.get("strict"), f"{where}.function.strict"),
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call requested by the assistant.

    `arguments` stays JSON text, as on the wire: columnar stores unify dict keys across rows and
    would hand every call the (null) parameters of every other tool.
    """

    id: str
    name: str
    arguments: str

    def to_wire(self) -> dict[str, Any]:
        """OpenAI `tool_calls` entry."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    @classmethod
    def from_wire(cls, wire: object, where: str = "tool_call") -> "ToolCall":
        """Read an OpenAI `tool_calls` entry; arguments may be JSON text or an object."""
        outer = _fields(wire, where, required=("function",), optional=("id", "type"))
        if outer.get("type", "function") != "function":
            raise SchemaError(f"{where}.type is {outer['type']!r}; only 'function' is known")
        inner = _fields(outer["function"], f"{where}.function", required=("name", "arguments"))
        arguments = inner["arguments"]
        if isinstance(arguments, Mapping):
            arguments = json_text(arguments)
        return cls(
            id=_text(outer.get("id") or "", f"{where}.id"),
            name=_text(inner["name"], f"{where}.function.name"),
            arguments=_text(arguments, f"{where}.function.arguments"),
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One role's entry in a conversation."""

    role: Role
    content: str | None = None
    thought: str | None = None
    """What the assistant reasons before it calls or answers; `reasoning_content` on the wire."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On a tool result: the call it answers."""
    name: str | None = None
    weight: int = 1
    """0 keeps an assistant turn in the context but out of the loss (OpenAI's `weight`)."""

    def to_wire(self) -> dict[str, Any]:
        """OpenAI message; absent fields are left out."""
        wire: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.thought is not None:
            wire["reasoning_content"] = self.thought
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        if self.name is not None:
            wire["name"] = self.name
        if self.weight != 1:
            wire["weight"] = self.weight
        return wire

    @classmethod
    def from_wire(cls, wire: object, where: str = "message") -> "Message":
        """Read an OpenAI message. Raises SchemaError naming `where` and the field."""
        fields = _fields(
            wire,
            where,
            required=("role",),
            optional=("content", "reasoning_content", "tool_calls", "tool_call_id", "name", "weight"),
        )
        role = fields["role"]
        if role not in ROLES:
            raise SchemaError(f"{where}.role is {role!r}; known roles: {', '.join(ROLES)}")
        calls = fields.get("tool_calls") or ()
        if not isinstance(calls, Sequence) or isinstance(calls, str):
            raise SchemaError(f"{where}.tool_calls must be a list, got {type(calls).__name__}")
        weight = fields.get("weight", 1)
        if weight not in (0, 1) or isinstance(weight, bool):
            raise SchemaError(f"{where}.weight is {fields['weight']!r}; it must be 0 or 1")
        return cls(
            role=cast(Role, role),
            content=_optional_text(fields.get("content"), f"{where}.content"),
            thought=_optional_text(fields.get("reasoning_content"), f"{where}.reasoning_content"),
            tool_calls=tuple(ToolCall.from_wire(c, f"{where}.tool_calls[{i}]") for i, c in enumerate(calls)),
            tool_call_id=_optional_text(fields.get("tool_call_id"), f"{where}.tool_call_id"),
            name=_optional_text(fields.get("name"), f"{where}.name"),
            weight=int(weight),
        )


@dataclass(frozen=True, slots=True)
class Conversation:
    """A typed dialogue with the tools it may use. One JSON line of a shard."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    id: str = ""
    source: str = ""
    """Where it came from: a file stem, a teacher's name. Counted in every report."""
    category: str = ""
    """What it teaches: `single`, `negative`, `slot_filling`, ..., `general`. Counted in every report."""
    language: str = ""
    metadata: Mapping[str, Any] | None = None
    """Free facts for people and gates (ground truth, tool set, licence); never rendered."""

    def to_wire(self) -> dict[str, Any]:
        """JSON object of one shard line; empty fields are left out."""
        wire: dict[str, Any] = {"messages": [m.to_wire() for m in self.messages]}
        if self.tools:
            wire["tools"] = [t.to_wire() for t in self.tools]
        return wire | self.label()

    def to_line(self, extra: Mapping[str, Any] | None = None) -> str:
        """`to_wire` as JSON text, without a line end; fields of `extra` stand behind its own."""
        line = f'"messages": {self.messages_text()}'
        if self.tools:
            line += f', "tools": {tools_text(self.tools)}'
        if label := self.label() | dict(extra or {}):
            line += f", {json_text(label)[1:-1]}"
        return f"{{{line}}}"

    def messages_text(self) -> str:
        """What `to_wire` has under `messages`, as JSON text."""
        return json_text([message.to_wire() for message in self.messages])

    def label(self) -> dict[str, Any]:
        """What stands beside messages and tools."""
        label: dict[str, Any] = {}
        for key in ("id", "source", "category", "language"):
            if value := getattr(self, key):
                label[key] = value
        if self.metadata:
            label["metadata"] = self.metadata
        return label

    @classmethod
    def from_wire(cls, wire: object, ignore: Sequence[str] = ()) -> "Conversation":
        """Read one shard line.

        Args:
            wire: decoded JSON.
            ignore: top-level fields to leave out, named by the user; any other unknown field raises.

        Raises:
            SchemaError: naming the field, its value and the rule.
        """
        if isinstance(wire, Mapping):
            wire = {k: v for k, v in wire.items() if k not in ignore}
        fields = _fields(
            wire,
            "conversation",
            required=("messages",),
            optional=("tools", "id", "source", "category", "language", "metadata"),
        )
        messages, tools = fields["messages"], fields.get("tools") or ()
        if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
            raise SchemaError("conversation.messages must be a non-empty list")
        if not isinstance(tools, Sequence) or isinstance(tools, str):
            raise SchemaError("conversation.tools must be a list")
        metadata = fields.get("metadata")
        if metadata is not None and not isinstance(metadata, Mapping):
            raise SchemaError(f"conversation.metadata must be an object, got {type(metadata).__name__}")
        return cls(
            messages=tuple(Message.from_wire(m, f"messages[{i}]") for i, m in enumerate(messages)),
            tools=tuple(Tool.from_wire(t, f"tools[{i}]") for i, t in enumerate(tools)),
            id=_text(fields.get("id") or "", "id"),
            source=_text(fields.get("source") or "", "source"),
            category=_text(fields.get("category") or "", "category"),
            language=_text(fields.get("language") or "", "language"),
            metadata=metadata,
        )


def tools_text(tools: Iterable[Tool]) -> str:
    """What `to_wire` has under `tools`, as JSON text."""
    texts = [f'{{"type": "function", "function": {tool.function_text}}}' for tool in tools]
    return f"[{', '.join(texts)}]"


def _fields(value: object, where: str, required: Sequence[str] = (), optional: Sequence[str] = ()) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where} must be an object, got {type(value).__name__}")
    if missing := [key for key in required if key not in value]:
        raise SchemaError(f"{where} lacks {', '.join(missing)}")
    if unknown := [str(key) for key in value if key not in required and key not in optional]:
        known = ", ".join((*required, *optional))
        raise SchemaError(f"{where} has unknown field {', '.join(unknown)}; known: {known}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise SchemaError(f"{where} must be text, got {type(value).__name__}")
    return value


def _optional_bool(value: object, where: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise SchemaError(f"{where} must be true or false, got {value!r}")
    return value


def _optional_text(value: object, where: str) -> str | None:
    return None if value is None else _text(value, where)
