"""Preference pairs: the right next turn of the assistant, and a wrong one that a gate refuses for a reason.

A wrong turn comes from the other half of a contrast pair (a call made where the tool or a value is missing), or is a
right turn spoilt in one place. The layout is TRL's conversational preference format with an explicit prompt.
"""

import json
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from data_pipeline.exports import Record, wire_tools
from data_pipeline.splitting import contrast_pair
from data_pipeline.words import decoded_arguments
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

Check = Callable[[Conversation], str | None]
Spoil = Callable[..., Message | None]
"""(conversation, place of the turn, stream) → a wrong turn to stand there; None where this way does not apply."""


class PreferencePairs:
    """Makes pairs of the conversations of one split; halves of contrast pairs wait on disk for each other.

    Args:
        check: all gates; a pair is written only if they refuse the rejected turn.
        seed: chooses what is spoilt.
        database: holds the waiting halves.
    """

    def __init__(self, check: Check, seed: int, database: sqlite3.Connection) -> None:
        self._check = check
        self._seed = seed
        self._database = database
        database.execute("CREATE TABLE IF NOT EXISTS halves (pair TEXT PRIMARY KEY, wire TEXT)")

    def __call__(self, conversation: Conversation) -> Iterator[Record]:
        """Pairs that this conversation completes: at most one a way of going wrong, and those with its other half."""
        if self._check(conversation) is not None:
            return  # what the gates refuse (foreign data) cannot stand as chosen
        for kind, spoil in SPOILS.items():
            rng = random.Random(derive_seed(self._seed, kind, json.dumps(conversation.to_wire(), sort_keys=True)))
            yield from self._pair(conversation, kind, partial(spoil, conversation, rng=rng))
        if other := self._other_half(conversation):
            for one, two in ((conversation, other), (other, conversation)):
                yield from self._pair(one, "contrast", partial(_other_turn, one, two))

    def _pair(self, conversation: Conversation, kind: str, wrong: Callable[[int], Message | None]) -> Iterator[Record]:
        for place, message in enumerate(conversation.messages):
            if message.role != "assistant":
                continue
            rejected = wrong(place)
            if rejected is None or _same(rejected, message):
                continue
            # The prompt with the right turn may fail too, where a category wants more than one turn: what counts is
            # that the wrong turn is refused for something else.
            context = conversation.messages[:place]
            reason = self._check(replace(conversation, messages=(*context, rejected)))
            if reason is None or reason == self._check(replace(conversation, messages=(*context, message))):
                continue
            yield {
                "prompt": [_trl_message(m) for m in context],
                "chosen": [_trl_message(message)],
                "rejected": [_trl_message(rejected)],
                "tools": wire_tools(conversation.tools),
                "id": conversation.id,
                "kind": kind,
                "reason": reason,
            }
            return

    def _other_half(self, conversation: Conversation) -> Conversation | None:
        pair = contrast_pair(conversation)
        if pair is None:
            return None
        found = self._database.execute("SELECT wire FROM halves WHERE pair = ?", (pair,)).fetchone()
        if found:
            return Conversation.from_wire(json.loads(found[0]))
        wire = json.dumps(conversation.to_wire(), ensure_ascii=False)
        self._database.execute("INSERT INTO halves VALUES (?, ?)", (pair, wire))
        return None


def drop_slot(conversation: Conversation, place: int, rng: random.Random) -> Message | None:
    """The call without one of its required arguments."""
    message = conversation.messages[place]
    if not message.tool_calls:
        return None
    call = message.tool_calls[0]
    arguments = dict(decoded_arguments(call))
    required = [key for key in _tool(conversation, call).parameters.get("required", ()) if key in arguments]
    if not required:
        return None
    del arguments[rng.choice(required)]
    return _with_arguments(message, arguments)


def invent_value(conversation: Conversation, place: int, rng: random.Random) -> Message | None:
    """The call with one value that nobody said: another number, other digits in an id."""
    message = conversation.messages[place]
    if not message.tool_calls:
        return None
    arguments = dict(decoded_arguments(message.tool_calls[0]))
    changed = {key: other for key, value in arguments.items() if (other := _another(value, rng)) is not None}
    if not changed:
        return None
    key = rng.choice(sorted(changed))
    return _with_arguments(message, {**arguments, key: changed[key]})


def call_needlessly(conversation: Conversation, place: int, rng: random.Random) -> Message | None:
    """A call right after the user spoke, where none is due; required arguments are whatever fits their types."""
    message = conversation.messages[place]
    if message.tool_calls or not conversation.tools or conversation.messages[place - 1].role != "user":
        return None
    tool = rng.choice(conversation.tools)
    arguments = _filled(tool.parameters)
    if not isinstance(arguments, dict):
        return None
    return Message("assistant", tool_calls=(ToolCall("call_1", tool.name, json.dumps(arguments, ensure_ascii=False)),))


SPOILS: Mapping[str, Spoil] = {
    "dropped_slot": drop_slot,
    "invented_value": invent_value,
    "needless_call": call_needlessly,
}


def _other_turn(conversation: Conversation, other: Conversation, place: int) -> Message | None:
    """The turn the other half has at this place, if both have said the same so far, but for the value one leaves out.

    A call beside a question shows both what asking is for and what a made-up value looks like.
    """
    # Only one of two tool sets may come with a system message.
    beside = place + _first_turn(other) - _first_turn(conversation)
    if beside >= len(other.messages) or other.messages[beside].role != "assistant":
        return None
    said = [
        [m.content or "" for m in c.messages[:end] if m.role == "user"]
        for c, end in ((conversation, place), (other, beside))
    ]
    if len(said[0]) != len(said[1]) or said[0][:-1] != said[1][:-1]:
        return None
    shorter, longer = sorted((said[0][-1], said[1][-1]), key=len)
    alike = longer.startswith(shorter) if _lacks_slot(conversation) else longer == shorter
    return other.messages[beside] if alike else None


def _first_turn(conversation: Conversation) -> int:
    return int(conversation.messages[0].role == "system")


def _lacks_slot(conversation: Conversation) -> bool:
    """Whether its contrast pair differs in a value, so that the words of one half go on where the other's end."""
    return bool((conversation.metadata or {}).get("contrast", {}).get("of") == "slot")


def _same(one: Message, other: Message) -> bool:
    return (one.content, one.tool_calls) == (other.content, other.tool_calls)


def _tool(conversation: Conversation, call: ToolCall) -> Tool:
    return next(tool for tool in conversation.tools if tool.name == call.name)


def _with_arguments(message: Message, arguments: Mapping[str, Any]) -> Message:
    first = replace(message.tool_calls[0], arguments=json.dumps(arguments, ensure_ascii=False))
    return replace(message, tool_calls=(first, *message.tool_calls[1:]))


def _another(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value + rng.randint(11, 97)
    if isinstance(value, float):
        return round(value + rng.randint(11, 97) / 4, 2)
    if isinstance(value, str) and any(c.isdigit() for c in value):
        return "".join(str((int(c) + rng.randint(1, 9)) % 10) if c.isdecimal() and c.isascii() else c for c in value)
    return None


def _filled(schema: Mapping[str, Any]) -> Any:
    """A plain value that fits the common part of a JSON Schema."""
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: _filled(properties[key]) for key in schema.get("required", ()) if key in properties}
    if kind == "array":
        return [_filled(schema.get("items", {"type": "string"}))] * max(1, int(schema.get("minItems", 1)))
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"boolean": True, "null": None}.get(kind, "unknown")


def _trl_message(message: Message) -> Record:
    wire = message.to_wire()
    wire.pop("weight", None)
    for call in wire.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return wire
