"""Calls that are wrong, missing, needless or made too early."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from benchmarks.corruptions.editing import ISO_DAY, Corruption, calling, leaves, with_arguments, with_leaf, with_message
from fcdist.schema.conversation import Conversation, Message, ToolCall

_CLOCK = re.compile(r"\d{2}:\d{2}")
_IDENTIFIER = re.compile(r"[A-Z]{2,}-?\d{3,}")
_OTHER_NAMES = ("Quxville", "Zanzibaria", "Mirabelle Grünfeld", "莫尔多瓦镇", "欧阳无忌", "Blorptastic Ltd")


def other_leaf(change: Callable[[Any, random.Random], Any]) -> Corruption:
    """Change one leaf of one call, and what the thought before it says, as a model that errs would write it."""

    def corrupt(c: Conversation, rng: random.Random) -> Conversation | None:
        found = [
            (place, number, arguments, path, value, new)
            for place, number, _, arguments in calling(c)
            for path, value in leaves(arguments)
            if (new := change(value, rng)) is not None and new != value
        ]
        if not found:
            return None
        place, number, arguments, path, value, new = rng.choice(found)
        spoilt = with_arguments(c, place, number, with_leaf(arguments, path, new))
        thought = c.messages[place].thought
        return with_message(spoilt, place, thought=thought and thought.replace(f"= {value}", f"= {new}"))

    return corrupt


def _shifted_day(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not ISO_DAY.fullmatch(value[:10]):
        return None
    return (date.fromisoformat(value[:10]) + timedelta(rng.choice((-7, -1, 1, 7, 365)))).isoformat() + value[10:]


def _shifted_time(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        return None
    return f"{(int(value[:2]) + rng.choice((1, 2, 12))) % 24:02d}:{value[3:]}"


def _other_number(value: Any, rng: random.Random) -> Any:
    return value + rng.choice((1, 3, 7, 100)) if type(value) in (int, float) else None


def _other_unit(value: Any, rng: random.Random) -> Any:
    return value * rng.choice((10, 60, 1000)) if type(value) in (int, float) and value else None


def _other_name(value: Any, rng: random.Random) -> Any:
    return rng.choice(_OTHER_NAMES) if isinstance(value, str) and not any(x.isdigit() for x in value) else None


def _invented_identifier(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        return None
    return re.sub(r"\d", lambda _: str(rng.randint(0, 9)), value)


wrong_date = other_leaf(_shifted_day)
wrong_time = other_leaf(_shifted_time)
wrong_number = other_leaf(_other_number)
unit_off = other_leaf(_other_unit)
wrong_name = other_leaf(_other_name)
invented_identifier = other_leaf(_invented_identifier)


def swapped_arguments(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, _, arguments in calling(c):
        for a in arguments:
            for b in arguments:
                alike = type(arguments[a]) is type(arguments[b]) and isinstance(arguments[a], str | int | float)
                if a < b and alike and arguments[a] != arguments[b]:
                    return with_arguments(c, place, number, {**arguments, a: arguments[b], b: arguments[a]})
    return None


def missing_argument(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, call, arguments in calling(c):
        required = next(t for t in c.tools if t.name == call.name).parameters["required"]
        if required:
            dropped = rng.choice(required)
            return with_arguments(c, place, number, {k: v for k, v in arguments.items() if k != dropped})
    return None


def extra_argument(c: Conversation, rng: random.Random) -> Conversation | None:
    """An optional argument that nobody asked for."""
    for place, number, call, arguments in calling(c):
        properties = next(t for t in c.tools if t.name == call.name).parameters["properties"]
        for key, schema in properties.items():
            if key not in arguments and schema.get("type") in ("integer", "number", "string"):
                value = schema["enum"][0] if schema.get("enum") else 3 if schema["type"] != "string" else "Quxville"
                return with_arguments(c, place, number, {**arguments, key: value})
    return None


def unknown_tool(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, call, _ in calling(c):
        calls = list(c.messages[place].tool_calls)
        calls[number] = replace(call, name=f"{call.name}_v9")
        return with_message(c, place, tool_calls=tuple(calls))
    return None


def dropped_tool(c: Conversation, rng: random.Random) -> Conversation | None:
    used = {call.name for _, _, call, _ in calling(c)}
    return replace(c, tools=tuple(t for t in c.tools if t.name not in used)) if used else None


def call_in_negative(c: Conversation, rng: random.Random) -> Conversation | None:
    """The first tool that needs nothing is called, or one with arguments that fit its schema."""
    if c.category != "negative":
        return None
    for tool in c.tools:
        properties = tool.parameters["properties"]
        if any(
            properties[key].get("type") not in ("string", "integer", "number") for key in tool.parameters["required"]
        ):
            continue
        arguments = {
            key: schema["enum"][0] if schema.get("enum") else 3 if schema["type"] != "string" else "Paris"
            for key, schema in properties.items()
            if key in tool.parameters["required"]
        }
        place = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
        call = ToolCall("call_1", tool.name, json.dumps(arguments))
        thought = f"Call {tool.name}."
        messages = (*c.messages[:place], Message("assistant", None, thought, (call,)))
        return replace(c, messages=messages)
    return None


def question_skipped(c: Conversation, rng: random.Random) -> Conversation | None:
    if not (c.metadata or {}).get("missing"):
        return None
    ask = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
    return None if c.messages[ask].tool_calls else replace(c, messages=c.messages[:ask] + c.messages[ask + 2 :])


def withdrawn_value_used(c: Conversation, rng: random.Random) -> Conversation | None:
    withdrawn = (c.metadata or {}).get("withdrawn")
    if not withdrawn:
        return None
    users = [i for i, m in enumerate(c.messages) if m.role == "user"]
    taken = withdrawn[0]
    for place, number, _, arguments in calling(c):
        path = tuple(taken["name"].split("."))
        present = dict(leaves(arguments)).get(path)
        if place > users[taken["turn"]] and present is not None and not isinstance(taken["value"], dict | list):
            return with_arguments(c, place, number, with_leaf(arguments, path, taken["value"]))
    return None


def repeated_call(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, message in enumerate(c.messages):
        if message.tool_calls and "error" not in (c.messages[place + 1].content or ""):
            end = place + 1 + len(message.tool_calls)
            return replace(c, messages=(*c.messages[:end], *c.messages[place:]))
    return None


def needless_call(c: Conversation, rng: random.Random) -> Conversation | None:
    """What the user took back, or knows already, is called all the same."""
    facts = c.metadata or {}
    made = [(c.messages[place], place) for place, *_ in calling(c)]
    if not made or not isinstance(facts.get("dropped", facts.get("recalled")), int):
        return None
    message, place = made[0]
    users = [i for i, m in enumerate(c.messages) if m.role == "user"]
    turn = users[facts.get("dropped", facts.get("recalled"))]
    end = place + 1 + len(message.tool_calls)
    return replace(c, messages=(*c.messages[: turn + 1], *c.messages[place:end], *c.messages[turn + 1 :]))
