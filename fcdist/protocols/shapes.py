"""Shapes of conversations: what a template may tell them apart by, their words aside, and an example of each."""

import json
from dataclasses import replace
from typing import NamedTuple

from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

MADE_UP_TOOL = Tool("look_up", "Looks up.", {"type": "object", "properties": {"key": {"type": "string"}}})


class Shape(NamedTuple):
    """What a template may tell conversations apart by, their words aside."""

    system: bool
    tools: bool
    thoughts: bool
    turns: frozenset[tuple[bool, bool, bool]]
    """Of every assistant message: (has content, has calls, has several)."""
    ends_in_call: bool
    named_results: bool


def shape_of(conversation: Conversation) -> Shape | None:
    """None for what no made-up conversation stands for: empty texts, an unusual order of roles."""
    messages = conversation.messages
    system = messages[0].role == "system"
    named = any(message.name is not None for message in messages)
    turns = set()
    before = "system"
    for message in messages[system:]:
        if not _follows(message.role, before) or (message.name is not None) != (named and message.role == "tool"):
            return None
        has_content = bool(message.content and message.content.strip())
        if message.role == "assistant":
            turns.add((has_content, bool(message.tool_calls), len(message.tool_calls) > 1))
        if not (has_content or message.tool_calls) or (message.thought is not None and not message.thought.strip()):
            return None
        before = "call" if message.tool_calls else message.role
    thoughts = any(message.thought is not None for message in messages)
    if before not in ("call", "assistant"):
        return None
    return Shape(system, bool(conversation.tools), thoughts, frozenset(turns), before == "call", named)


def _follows(role: str, before: str) -> bool:
    allowed = {"user": ("system", "assistant"), "assistant": ("user", "tool"), "tool": ("call", "tool")}
    return before in allowed.get(role, ())


def make_up(shape: Shape) -> Conversation:
    """Every kind of turn after a question and after a result, with a thought and without; several questions."""
    messages = [Message("system", "Made-up system prompt.")] if shape.system else []
    calls = sorted(kind for kind in shape.turns if kind[1])
    answers = [kind for kind in shape.turns if not kind[1]]
    rounds = [(thought, calls[i:]) for thought in {shape.thoughts, False} for i in range(len(calls) + 2)]
    for thought, some in rounds if answers else rounds[:1]:  # without an answer there is one question
        messages.append(Message("user", f"Made-up question {len(messages)}."))
        for kind in (*some, *answers):
            messages += _turn(kind, thought, len(messages))
    if shape.ends_in_call:
        if answers:
            messages.append(Message("user", "Made-up last question."))
        messages += _turn(calls[-1], shape.thoughts, len(messages))
        messages = messages[: max(i for i, m in enumerate(messages) if m.role == "assistant") + 1]
    if shape.named_results:
        messages = [replace(m, name=MADE_UP_TOOL.name) if m.role == "tool" else m for m in messages]
    return Conversation(tuple(messages), (MADE_UP_TOOL,) if shape.tools else ())


def _turn(kind: tuple[bool, bool, bool], thought: bool, number: int) -> list[Message]:
    """An assistant's turn, and the results of its calls."""
    has_content, has_calls, has_several = kind
    count = (2 if has_several else 1) if has_calls else 0
    calls = tuple(ToolCall(f"made{number}up{i}", MADE_UP_TOOL.name, json.dumps({"key": f"k{i}"})) for i in range(count))
    content = f"Made-up answer {number}." if has_content else None
    turn = Message("assistant", content, f"Made-up thought {number}." if thought else None, calls)
    return [turn, *(Message("tool", f"Made-up result {call.id}.", tool_call_id=call.id) for call in calls)]
