"""How a call of a tool can fail, and what every such failure has in common."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft, RepetitionError, Values
from data_pipeline.dialogues.requests import is_changeable
from data_pipeline.slots import Value
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import issues
from fcdist.errors import SchemaError
from fcdist.schema.checks import check_arguments

_BOOKED = ("booking", "reservation", "appointment", "rental", "lesson", "ticket")
"""What there is a limited number of."""
_MEETINGS = ("event", "meeting", "appointment")
"""What cannot take place at the same time as another one."""
_SCARCE = ("restaurant", "hotel", "movie", "car", "book")
"""Pools whose members may be taken."""
_DOING = ("book", "create", "update", "control", "search", "send")
"""Acts whose amounts the user chooses; a weight, a price or a voltage is what it is, whatever the limit."""
_COORDINATES = re.compile(r"lat|lon|lng")
_FREE_TEXT = ("title", "task", "message", "sentence", "word", "topic", "address", "issue", "subjectline", "keyword")
"""Pools whose values are whatever the user likes, so that none of them is unknown."""
_CAPS = ("limit", "max_results", "page_size", "per_page", "top_k", "count")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A parameter through which a call of a tool fails."""

    kind: str
    instance: ToolInstance
    param: Param


def kinds_of(instance: ToolInstance, param: Param) -> list[str]:
    """How a call of the tool may fail through the parameter."""
    if not param.required:
        return _kinds_of_filter(instance, param)
    kinds: list[str] = []
    act, made = instance.base.act, str(issues(instance.base))
    pool = str(param.spec.get("pool", "")) if param.kind == "pool" else ""
    if param.kind in ("date", "time") and made.endswith(_MEETINGS):
        kinds.append("conflict")
    scarce = param.kind in ("date", "time", "enum") or pool in _SCARCE
    if act == "book" and made.endswith(_BOOKED) and scarce:
        kinds.append("sold_out")
    if _finds(instance) and is_changeable(param):
        kinds.append("empty")
    if param.kind in ("ref", "code"):
        kinds += ["not_found", "respelled"] if param.kind == "ref" and instance.base.backing is None else ["not_found"]
    if pool and act in ("get", "book", "control") and not pool.endswith(_FREE_TEXT):
        kinds.append("misspelt")
    chosen = param.kind == "int" and not param.spec.get("u") and act in _DOING
    if chosen and not _COORDINATES.search(param.key.lower()):
        kinds.append("invalid")
    return [*kinds, "refused"] if is_changeable(param) and param.kind != "person" else kinds


def _kinds_of_filter(instance: ToolInstance, param: Param) -> list[str]:
    if not _finds(instance):
        return []
    if param.key in _CAPS:
        return ["capped"]
    # What the hits themselves show (a rating) could contradict the empty answer later.
    narrows = param.kind in ("pool", "enum", "money", "date") and not param.key.startswith("sort")
    return ["empty"] if narrows else []


def _finds(instance: ToolInstance) -> bool:
    return instance.base.act == "search" and "results" in instance.base.out


def fail(draft: Draft, trouble: Trouble, values: Values, outcome: Mapping[str, Any], error: str) -> None:
    """The user asks, the call fails with `outcome`; `error` is its type, for the gates.

    Raises:
        RepetitionError: the tool's own schema refuses the values.
    """
    instance, key = trouble.instance, trouble.param.key
    check_fits(instance, values)
    draft.world.plan_outcome(instance.base, key, values[key].arg, outcome)
    draft.say(draft.request(instance, values))
    draft.facts.setdefault("errors", []).append({"call": len(draft.calls), "error": error})
    draft.call([(instance, values)])


def check_fits(instance: ToolInstance, values: Values) -> None:
    """A user's tool may refuse a value by its schema: then nobody can call it so. Raises RepetitionError."""
    if instance.base.backing is None:
        return
    try:
        check_arguments(instance.tool, json.dumps(instance.arguments(values), ensure_ascii=False))
    except SchemaError:
        raise RepetitionError from None


def values_of(draft: Draft, trouble: Trouble) -> Values:
    """Values in which that of the troubled parameter stands alone. Raises RepetitionError where another equals it."""
    values = draft.values(trouble.instance, [trouble.param.key])
    args = [str(value.arg) for value in values.values()]
    if args.count(str(values[trouble.param.key].arg)) > 1:
        raise RepetitionError
    return values


def go_on(draft: Draft, trouble: Trouble, values: Values, new: Value, seen: str = "") -> None:
    """The call succeeds with another value, or without the parameter where `new` has no argument."""
    rest = {key: value for key, value in values.items() if key != trouble.param.key}
    after = {key: new if key == trouble.param.key else value for key, value in values.items()} if new.text else rest
    draft.run([(trouble.instance, after)], seen)


def public_value(trouble: Trouble, values: Values, value: Value) -> Any:
    """`value` as a call writes it instead of the one in `values`, and so as errors show it.

    Raises:
        RepetitionError: the tool's face takes it apart or joins it with others.
    """
    instance, key = trouble.instance, trouble.param.key
    call, path = instance.public({**values, key: value}), instance.names[key]
    span = call.spans().get(path)
    fact = call.facts().get(path)
    if isinstance(span, Mapping) and "form" in span:
        whole = span["form"]["kind"] != "part" and len(span["of"]) == 1
    else:
        whole = fact is not None and fact.arg == value.arg
    if fact is None or not whole:
        raise RepetitionError
    return fact.arg
