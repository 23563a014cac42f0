"""Reading what the assistant wrote: one pass that keeps arguments as the very text that was generated."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers.utils.chat_parsing.response_parser import parse_response

from fcdist.schema.conversation import Message, ToolCall

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s*")
_CHECKPOINT_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)
"""Reasoning that a checkpoint's own template or habit puts before the protocol's text (Qwen3 writes an empty one)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of an assistant turn: characters [start, end) of its text are of this kind."""

    kind: Literal["thought", "call", "answer"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Turn:
    """An assistant turn, read. The spans follow each other and cover the whole text."""

    thought: str | None
    content: str | None
    calls: tuple[tuple[str, str], ...]
    """(name, JSON text of the arguments object)."""
    spans: tuple[Span, ...]

    def to_message(self) -> Message:
        """As a message; calls get the ids `call_0`, `call_1`, ..."""
        calls = tuple(ToolCall(f"call_{i}", name, arguments) for i, (name, arguments) in enumerate(self.calls))
        return Message("assistant", content=self.content, thought=self.thought, tool_calls=calls)


def read_turn(text: str, recipe: Mapping[str, Any]) -> Turn | None:
    """Read an assistant turn without its end-of-turn token.

    Strings inside a call may hold anything, the closing tag included. Whitespace around thought, content and calls
    does not count. The last call may lack its closing tag if the text ends there.

    Args:
        text: what the assistant wrote.
        recipe: a protocol's, with `thought` and `call`.

    Returns:
        The turn, or None where a call or thought was begun and is not well formed.
    """
    spans: list[Span] = []
    opening = _read_thought(text, recipe["thought"])
    if opening is None:
        return None
    thought, position = opening
    if position:
        spans.append(Span("thought", 0, position))
    call = recipe["call"]
    begin, end = call["begin"].strip(), call["end"].strip()
    calls: list[tuple[str, str]] = []
    answers: list[str] = []
    while (start := text.find(begin, position)) >= 0:
        before = position
        if text[position:start].strip():
            answers.append(text[position:start])
            spans.append(Span("answer", position, start))
            before = start
        read = read_call(text, _skip(text, start + len(begin)), call["name_key"], call["arguments_key"])
        if read is None:
            return None
        name, arguments, after = read
        position = _skip(text, after)
        if text.startswith(end, position):
            position = _skip(text, position + len(end))
        elif position < len(text):
            return None
        calls.append((name, arguments))
        spans.append(Span("call", before, position))
    if position < len(text):
        answers.append(text[position:])
        spans.append(Span("answer", position, len(text)))
    content = "".join(answers).strip()
    return Turn(thought, content or (None if calls else ""), tuple(calls), tuple(spans))


def _read_thought(text: str, thought: Mapping[str, str]) -> tuple[str | None, int] | None:
    """The thought at the start of `text`, if any, and where what follows it begins; None if it never ends."""
    begin, end = thought["begin"].strip(), thought["end"].strip()
    start = after_own = 0
    if begin != "<think>" and (own := _CHECKPOINT_THOUGHT.match(text)):
        start = after_own = own.end()
    start = _skip(text, start)
    if not text.startswith(begin, start):
        return None, after_own
    close = text.find(end, start + len(begin))
    if close < 0:
        return None
    return text[start + len(begin) : close].strip() or None, _skip(text, close + len(end))


def read_call(text: str, start: int, name_key: str, arguments_key: str) -> tuple[str, str, int] | None:
    """Read the JSON object of a call at `start`, keeping its arguments as written.

    Returns:
        (name, text of the arguments object, position after the object), or None if it is no such object.
    """
    name, arguments = None, None
    if not text.startswith("{", start):
        return None
    position = _skip(text, start + 1)
    try:
        while text.startswith('"', position):
            key, position = _DECODER.raw_decode(text, position)
            position = _skip(text, position)
            if not text.startswith(":", position):
                return None
            begin = _skip(text, position + 1)
            value, position = _DECODER.raw_decode(text, begin)
            if key == name_key and isinstance(value, str):
                name = value
            elif key == arguments_key and isinstance(value, dict):
                arguments = text[begin:position]
            position = _skip(text, position)
            if not text.startswith(",", position):
                break
            position = _skip(text, position + 1)
    except (ValueError, RecursionError):
        return None
    if name is None or arguments is None or not text.startswith("}", position):
        return None
    return name, arguments, position + 1


def read_with_template(
    text: str, template: Mapping[str, Any], prefix: str, tools: Sequence[Mapping[str, Any]]
) -> Message | None:
    """Read an assistant turn with a response template alone, as `tokenizer.parse_response` does.

    Returns:
        The message, or None where the template cannot make sense of the text.
    """
    try:
        read = parse_response(text, dict(template), prefix=prefix, tools=[dict(tool) for tool in tools] or None)
        calls = []
        for i, entry in enumerate(read.get("tool_calls") or ()):
            function = entry.get("function", entry)
            arguments = function["arguments"]
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False)
            if not isinstance(json.loads(arguments), dict):
                return None
            calls.append(ToolCall(f"call_{i}", str(function["name"]), arguments))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    thought = read.get("reasoning_content") or read.get("thinking") or None
    content = read.get("content") or (None if calls else "")
    return Message("assistant", content=content, thought=thought, tool_calls=tuple(calls))


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
