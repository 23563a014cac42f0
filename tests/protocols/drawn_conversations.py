"""Conversations for property tests, and what rendering made of them turn by turn."""

import json
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from hypothesis import strategies as st

from fcdist.protocols.rendering import Segment
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

WORDS = (
    "sun",
    "今天天气怎么样",
    "naïve",
    "🚀",
    'say "hi"',
    "a\nb",
    "\\n",
    "{",
    "}",
    '{"',
    "<b>",
    "don't",
    "1.50",
    "  x",
    "[1]",
)
TAGS = ("<thought>", "</thought>", "<function_call>", "</function_call>", "</function_call>\n", "<think>", "</think>")
TAGS += (
    "<tool_call>",
    "</tool_call>",
    "\n</tool_call>\n",
    "</observation>",
    '"}}</function_call>',
    '"}}\n</tool_call>',
)

prose = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join).map(str.strip)
anything = st.lists(st.sampled_from(WORDS + TAGS), max_size=5).map("".join)
scalars = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.sampled_from([1.0, 0.1, -2.5e-7]) | anything
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["k", "键", "k 2"]), v), max_leaves=5
)
KEYS = ("city", "城市", "q-1", "days")
arguments = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)


def tool(name: str) -> Tool:
    """A tool whose arguments may be anything."""
    properties: dict[str, Any] = {key: {"description": f"值 of {key}"} for key in KEYS}
    return Tool(name, f"Does {name}. 查询", {"type": "object", "properties": properties, "required": []})


@st.composite
def calls(draw: st.DrawFn, most: int) -> tuple[ToolCall, ...]:
    """One to `most` calls, their arguments spaced and escaped in several ways."""
    made = []
    for i in range(draw(st.integers(1, most))):
        style = draw(st.sampled_from([{}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 1}]))
        made.append(
            ToolCall(f"call{i:05}", draw(st.sampled_from(["get_x", "find.y"])), json.dumps(draw(arguments), **style))
        )
    return tuple(made)


@st.composite
def conversations(draw: st.DrawFn, most_calls: int = 3, thoughts: bool = True, weights: bool = True) -> Conversation:
    """Up to three questions, some answered after calls; the calls of a turn are in the order of their results."""
    messages = [Message("system", draw(prose))] if draw(st.booleans()) else []
    tools = (tool("get_x"), tool("find.y"))[: draw(st.sampled_from([0, 2, 2]))]
    thought = st.none() | prose if thoughts else st.none()
    weight = st.sampled_from([1, 1, 0]) if weights else st.just(1)
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(prose)))
        while tools and draw(st.booleans()):
            wanted = draw(calls(most_calls))
            content = draw(st.none() | prose)
            messages.append(Message("assistant", content, draw(thought), wanted, weight=draw(weight)))
            messages += [Message("tool", draw(anything), tool_call_id=call.id) for call in wanted]
        messages.append(Message("assistant", draw(prose), draw(thought), weight=draw(weight)))
    if draw(st.booleans()) and tools:
        messages.append(Message("user", draw(prose)))
        messages.append(Message("assistant", None, draw(thought), draw(calls(most_calls))))
    else:
        messages.append(Message("user", draw(prose)))
        messages.append(Message("assistant", draw(prose), draw(thought)))
    return Conversation(tuple(messages), tools, id="drawn")


@st.composite
def chats(draw: st.DrawFn) -> tuple[Message, ...]:
    """Questions and answers without tools, perhaps after a system prompt."""
    messages = [Message("system", draw(prose))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages += [Message("user", draw(prose)), Message("assistant", draw(prose))]
    return tuple(messages)


@dataclass(frozen=True)
class Spoken:
    """One supervised turn as rendered."""

    message: Message
    before: tuple[Message, ...]
    runs: tuple[str, ...]
    """The text before it, cut where supervision changes."""
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """What the model must write."""
        return "".join(s.text for s in self.segments)


def spoken(conversation: Conversation, examples: list[tuple[Segment, ...]]) -> list[Spoken]:
    """The supervised turns of the examples, beside the messages they come from."""
    indices = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.weight]
    found: list[tuple[tuple[str, ...], tuple[Segment, ...]]] = []
    for segments in examples:
        runs: list[str] = []
        for supervised, group in groupby(segments, key=lambda s: s.supervised):
            run = tuple(group)
            if supervised:
                found.append((tuple(runs), run))
            runs.append("".join(s.text for s in run))
    return [
        Spoken(conversation.messages[i], conversation.messages[:i], runs, segments)
        for i, (runs, segments) in zip(indices, found, strict=True)
    ]


def meaning(message: Message) -> tuple[Any, ...]:
    """What must survive: thought and content up to surrounding whitespace, calls with decoded arguments."""
    return (
        (message.thought or "").strip(),
        (message.content or "").strip(),
        [(call.name, json.loads(call.arguments)) for call in message.tool_calls],
    )


def wire(messages: tuple[Message, ...], as_objects: bool = False) -> list[dict[str, Any]]:
    """Messages as a server gets them, arguments as text or as objects."""
    written = [message.to_wire() for message in messages]
    for entry in written:
        entry.pop("weight", None)
        for call in entry.get("tool_calls", ()) if as_objects else ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return written
