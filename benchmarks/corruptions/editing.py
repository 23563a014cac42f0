"""Copies of a conversation in which one thing is another."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fcdist.schema.conversation import Conversation, ToolCall

Corruption = Callable[[Conversation, random.Random], Conversation | None]
"""(good conversation, stream) → the same with one error; None where this error cannot be made."""
ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def with_message(c: Conversation, place: int, **changes: Any) -> Conversation:
    """The conversation with one message changed."""
    messages = list(c.messages)
    messages[place] = replace(messages[place], **changes)
    return replace(c, messages=tuple(messages))


def language(c: Conversation) -> str:
    """`zh` or `en`; rows of people do not say."""
    return c.language or ("zh" if re.search("[\u4e00-\u9fff]", c.messages[-1].content or "") else "en")


def calling(c: Conversation) -> Iterator[tuple[int, int, ToolCall, dict[str, Any]]]:
    """(message, number in it, call, arguments) of every call."""
    for place, message in enumerate(c.messages):
        for number, call in enumerate(message.tool_calls):
            yield place, number, call, json.loads(call.arguments)


def with_arguments(c: Conversation, place: int, number: int, arguments: Mapping[str, Any]) -> Conversation:
    """The conversation with the arguments of one call changed."""
    calls = list(c.messages[place].tool_calls)
    calls[number] = replace(calls[number], arguments=json.dumps(arguments, ensure_ascii=False))
    return with_message(c, place, tool_calls=tuple(calls))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    else:
        for key, item in items:
            yield from leaves(item, (*path, key))


def with_leaf(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of nested `value` with another leaf."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_leaf(value[path[0]], path[1:], new)
    return copied
