"""Read the list that was asked for out of whatever a language model replied.

Only objects that are complete in the reply are taken, and each is held against its schema again. Libraries that mend
JSON close what was cut off, which would pass half a sentence for a whole one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from json import JSONDecodeError, JSONDecoder
from typing import Any

import jsonschema_rs

_DECODER = JSONDecoder(strict=False)  # line breaks inside strings are the most common slip
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)


def read_list(text: str, schema: Mapping[str, Any]) -> list[Any]:
    """The items of a reply that fit, in order.

    Accepts the demanded object, a bare list or a single item, with commas too many, inside a code fence or prose, and
    a reply that was cut off.

    Args:
        text: the reply.
        schema: what was demanded: an object with one property, a list of items.

    Returns:
        Valid items; an empty list if there is nothing usable.
    """
    ((name, wanted),) = schema["properties"].items()
    validator = _validator(json.dumps(wanted["items"]))
    items = (item for value in _values(text) for item in _items(value, name))
    return [item for item in items if _is_writable(item) and validator.is_valid(item)]


def _is_writable(value: Any) -> bool:
    """Whether no text in `value` has an escaped half of a surrogate pair, which no file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _items(value: Any, name: str) -> list[Any]:
    if isinstance(value, Mapping) and isinstance(value.get(name), list):
        value = value[name]
    return value if isinstance(value, list) else [value]


def _values(text: str) -> Iterator[Any]:
    """The whole text as one value, or else the complete objects in it."""
    try:
        yield _DECODER.decode(text.strip())
    except (JSONDecodeError, RecursionError):
        text = _STRING_OR_COMMA.sub(lambda match: "" if match[0] == "," else match[0], text)
        position = text.find("{")
        while position >= 0:
            try:
                value, end = _DECODER.raw_decode(text, position)
            except (JSONDecodeError, RecursionError):
                position = text.find("{", position + 1)
                continue
            yield value
            position = text.find("{", end)


@lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    return jsonschema_rs.validator_for(json.loads(schema))
