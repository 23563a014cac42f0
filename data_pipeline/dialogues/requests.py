"""Conversations of one request, and what the other kinds say in the same way."""

from collections.abc import Sequence
from typing import Any

from data_pipeline.catalogue import NESTED, Param
from data_pipeline.dialogues.draft import Draft, Values
from data_pipeline.replies import is_plural
from data_pipeline.slots import Value
from data_pipeline.surface import ToolInstance

_UNCHANGEABLE = ("bool", "ref", "code", *NESTED)
"""Kinds whose value nobody replaces in passing."""
_ORDINALS = (("first", "second", "third", "fourth", "fifth"), ("一", "二", "三", "四", "五"))


def write_single(draft: Draft) -> None:
    """One request, one call."""
    _one(draft, ())


def write_nested(draft: Draft) -> None:
    """One request with a list or an object."""
    _one(draft, NESTED)


def write_date(draft: Draft) -> None:
    """One request with a day."""
    _one(draft, ("date",))


def _one(draft: Draft, kinds: Sequence[str]) -> None:
    instance = draft.pick(kinds)
    must = [p.key for p in instance.params if p.kind in kinds][:1]
    one_request(draft, instance, draft.values(instance, must))


def one_request(draft: Draft, instance: ToolInstance, values: Values) -> dict[str, Any]:
    """The user asks, the assistant calls and answers. Returns the result."""
    draft.say(draft.request(instance, values))
    return draft.run([(instance, values)])[0]


def is_askable(param: Param) -> bool:
    """Whether a value can be asked for."""
    return param.required and param.kind != "bool"


def is_changeable(param: Param) -> bool:
    """Whether a user may well say one value and then another one."""
    return param.kind not in _UNCHANGEABLE


def statement(draft: Draft, param: Param, value: Value) -> str:
    """ "the date is next Friday" / 日期是下周五."""
    noun = draft.noun(param)
    if draft.chinese:
        return f"{noun}是{draft.named(param, value)}"
    return f"the {noun} {'are' if is_plural(noun) else 'is'} {value.text}"


def ended(text: str, draft: Draft) -> str:
    """`text` as a sentence that another one may follow."""
    return text if text[-1] in ".?!。？！" else text + ("。" if draft.chinese else ".")


def withdraw(draft: Draft, instance: ToolInstance, before: Values, after: Values) -> None:
    """Note that the user's last turn takes back what differs between `before` and `after`."""
    new = instance.arguments(after)
    draft.facts.setdefault("withdrawn", []).extend(
        {"name": name, "value": value, "turn": draft.turns - 1}
        for name, value in instance.arguments(before).items()
        if new.get(name) != value
    )


def ordinal(place: int, draft: Draft) -> str:
    """first, second … / 一、二…; `place` counts from 0."""
    return _ORDINALS[draft.chinese][place]
