"""Form: roles, schemas, offered tools, results that are JSON, lengths."""

from functools import lru_cache

from data_pipeline.gates.reading import Reading
from fcdist.errors import SchemaError
from fcdist.schema.checks import check_conversation, check_tools
from fcdist.schema.conversation import Tool

MAX_CHARACTERS = 12_000
MAX_THOUGHT = 600


def structure(reading: Reading) -> str | None:
    """Roles take turns, calls name offered tools and fit their JSON Schemas, results are JSON."""
    try:
        _check_tools(_Tools(reading.conversation.tools))
        check_conversation(reading.conversation, tools_checked=True)
    except SchemaError as error:
        text = str(error)
        if "unknown tool" in text:
            return "unknown_tool"
        if "arguments" in text:
            return "arguments_break_schema"
        return "malformed"
    return "result_is_not_json" if reading.plain_results else None


class _Tools:
    """A tool set, by the identity of its tools: many conversations share one, and its schemas are checked once."""

    __slots__ = ("tools",)

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.tools = tools

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.tools)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Tools) or len(self.tools) != len(other.tools):
            return False
        return self.tools is other.tools or all(a is b for a, b in zip(self.tools, other.tools, strict=True))


@lru_cache(maxsize=256)
def _check_tools(tools: _Tools) -> None:
    check_tools(tools.tools)


def length(reading: Reading) -> str | None:
    """Neither the conversation nor a thought runs away."""
    messages = reading.messages
    if sum([len(m.content) for m in messages if m.content]) > MAX_CHARACTERS:
        return "too_long"
    return "thought_too_long" if any([len(m.thought) > MAX_THOUGHT for m in messages if m.thought]) else None
