"""Read the list of rewritten conversations out of whatever a language model replied."""

import json
from collections.abc import Mapping
from json import JSONDecodeError, JSONDecoder
from typing import Any

_DECODER = JSONDecoder()


def read_items(text: str) -> list[Mapping[str, Any]]:
    """Objects with `id` and `texts` in a reply, in order.

    Accepts the demanded object, a bare list, either inside a code fence or prose, and a reply that was cut off: then
    the objects that are complete. An empty list if there is nothing usable.
    """
    try:
        value = json.loads(text)
    except JSONDecodeError:
        return _complete_objects(text)
    if isinstance(value, Mapping) and isinstance(value.get("conversations"), list):
        value = value["conversations"]
    elif isinstance(value, Mapping):
        value = [value]
    return [item for item in value if _is_item(item)] if isinstance(value, list) else []


def _complete_objects(text: str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    position = text.find("{")
    while position >= 0:
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (JSONDecodeError, RecursionError):
            position = text.find("{", position + 1)
            continue
        if _is_item(value):
            found.append(value)
        elif isinstance(value, Mapping) and isinstance(value.get("conversations"), list):
            found += [item for item in value["conversations"] if _is_item(item)]
        position = text.find("{", end)
    return found


def _is_item(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("id"), int)
        and not isinstance(value.get("id"), bool)
        and isinstance(value.get("texts"), list)
    )
