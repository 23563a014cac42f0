"""Are two lists of calls the same, and where do a call's values come from?

Rules of sameness, in one place:

- the order of calls in one turn and of keys in an object is free; the order in an array is not;
- an argument left out equals its schema's `default`; without a default it equals null only;
- 1 equals 1.0; true does not equal 1; a number does not equal its spelling;
- text is compared by `fold`: width, case, white space and the punctuation people vary (`,./-_*^'"`) do not count,
  except inside numbers.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fcdist.schema.conversation import Tool, ToolCall

_BETWEEN_DIGITS = re.compile(r"(?<=\d)[.](?=\d)")
_SIGN = re.compile(r"(?<![0-9a-z])-(?=\d)")
_VARIED = re.compile(r"[\s,./\-_*^'\"]")
_NUMBER = re.compile(r"(?<![\d.])-?\d+(?:[.,]\d+)*")
_KEPT_POINT, _KEPT_SIGN = "\x00", "\x01"


def fold(text: str) -> str:
    """Text without what people vary in spelling the same value; the point and sign of a number stay."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _SIGN.sub(_KEPT_SIGN, _BETWEEN_DIGITS.sub(_KEPT_POINT, text))
    return _VARIED.sub("", text)


def same_value(given: Any, expected: Any) -> bool:
    """Whether two JSON values mean the same."""
    if isinstance(given, bool) or isinstance(expected, bool):
        return given is expected
    if isinstance(given, int | float) and isinstance(expected, int | float):
        return abs(given - expected) <= 1e-9 * max(1.0, abs(expected))
    if isinstance(given, str) and isinstance(expected, str):
        return fold(given) == fold(expected)
    if isinstance(given, list) and isinstance(expected, list):
        return len(given) == len(expected) and all(map(same_value, given, expected))
    if isinstance(given, dict) and isinstance(expected, dict):
        return given.keys() == expected.keys() and all(same_value(given[key], expected[key]) for key in given)
    return given is None and expected is None


def same_arguments(given: Mapping[str, Any], expected: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    """Whether two argument objects mean the same to a tool with these parameters (defaults filled in)."""
    return same_value(fill_defaults(given, schema), fill_defaults(expected, schema))


def fill_defaults(value: Any, schema: Any) -> Any:
    """`value` with absent optional properties set to their schema's default, and nulls without a default left out."""
    if isinstance(value, list) and isinstance(schema, Mapping):
        return [fill_defaults(item, schema.get("items")) for item in value]
    if not isinstance(value, Mapping) or not isinstance(schema, Mapping):
        return value
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(value)
    filled = {name: s["default"] for name, s in properties.items() if isinstance(s, Mapping) and "default" in s}
    filled |= {name: fill_defaults(item, properties.get(name)) for name, item in value.items()}
    return {name: item for name, item in filled.items() if item is not None}


def same_calls(given: Sequence[ToolCall], expected: Sequence[ToolCall], tools: Sequence[Tool]) -> bool:
    """Whether two turns request the same calls, in any order. Undecodable arguments match nothing."""
    if len(given) != len(expected):
        return False
    schemas = {tool.name: tool.parameters for tool in tools}
    left = list(expected)
    for call in given:  # sameness is an equivalence, so taking the first match loses nothing
        arguments = decoded(call)
        for other in left:
            theirs = decoded(other)
            if call.name != other.name or arguments is None or theirs is None:
                continue
            if same_arguments(arguments, theirs, schemas.get(call.name, {})):
                left.remove(other)
                break
        else:
            return False
    return True


def decoded(call: ToolCall) -> dict[str, Any] | None:
    """A call's arguments as an object; None if they are not one."""
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def leaves(value: Any) -> Iterator[Any]:
    """The scalars of a JSON value."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def invented_values(call: ToolCall, said: str, tool: Tool | None, expected: Sequence[ToolCall]) -> list[Any]:
    """Argument values that nobody gave.

    A value is traceable if it is in an expected call (so a value that has to be computed, like the date of tomorrow, is
    not an invention), is a number written in `said`, is text whose every word is in `said`, is an enum member or a
    default of the tool's schema, is at most one character long, or is true, false or null.

    Args:
        call: what the model requested.
        said: everything in the conversation before the call.
        tool: the called tool; None: unknown.
        expected: the right calls of this turn.
    """
    allowed = [leaf for other in expected for leaf in leaves(decoded(other) or {})]
    allowed += list(schema_values(tool.parameters)) if tool else []
    numbers = {number for text in _NUMBER.findall(said) for number in _readings(text)}
    folded = fold(said)
    return [
        leaf
        for leaf in leaves(decoded(call) or {})
        if not (_is_said(leaf, folded, numbers) or any(same_value(leaf, value) for value in allowed))
    ]


def schema_values(schema: Any) -> Iterator[Any]:
    """Enum members, constants and defaults anywhere in a JSON Schema."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "enum" and isinstance(value, list):
                yield from value
            elif key in ("default", "const"):
                yield from leaves(value)
            else:
                yield from schema_values(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from schema_values(item)


def _is_said(value: Any, folded: str, numbers: set[float]) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return float(value) in numbers or abs(float(value)) in numbers
    if fold(value) in folded:
        return True
    return all(fold(word) in folded for word in re.findall(r"\w+", value))


def _readings(text: str) -> Iterator[float]:
    """A number's possible values: `1,200` is 1200, `1.5` is 1.5, `3,5` is also 3.5."""
    for reading in (text.replace(",", ""), text.replace(",", ".")):
        try:
            yield float(reading)
        except ValueError:
            continue
