"""Contrast pairs: the same words with and without the tool they need, or with and without one of its values."""

from dataclasses import dataclass

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft, RepetitionError, Values
from data_pipeline.dialogues.negative import Wish, refuse
from data_pipeline.dialogues.requests import ended, is_askable, is_changeable, statement
from data_pipeline.dialogues.slot_filling import answer_fully, note_missing
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import ToolSet, related
from data_pipeline.wording import capital


@dataclass(frozen=True, slots=True)
class SharedRequest:
    """What both halves of a pair start from."""

    instance: ToolInstance
    values: Values
    text: str
    """The user's words; of a slot pair those that leave `missing` out."""
    missing: Param | None = None


def plan_tool_pair(draft: Draft, without: ToolSet) -> SharedRequest | None:
    """A request for a tool of the draft's set that none of `without` serves; None where there is no such tool."""
    usable = [i for i in draft.tool_set.instances if not any(related(i.base, o.base) for o in without.instances)]
    if not usable:
        return None
    instance = draft.rng.choice(usable)
    values = draft.values(instance)
    return SharedRequest(instance, values, draft.request(instance, values))


def plan_slot_pair(draft: Draft) -> SharedRequest | None:
    """A request that leaves a required value out; None where no tool of the set has one.

    Raises:
        RepetitionError: the words give the value away all the same.
    """
    usable = [i for i in draft.tool_set.instances if any(map(_can_follow, i.params))]
    if not usable:
        return None
    instance = draft.rng.choice(usable)
    values = draft.values(instance)
    missing = draft.rng.choice([p for p in instance.params if _can_follow(p)])
    given = {key: value for key, value in values.items() if key != missing.key}
    text = draft.request(instance, given)
    if str(values[missing.key].arg).casefold() in text.casefold():
        raise RepetitionError
    return SharedRequest(instance, values, text, missing)


def _can_follow(param: Param) -> bool:
    """Whether the value can be said in a sentence of its own."""
    return is_askable(param) and (is_changeable(param) or param.kind in ("ref", "code"))


def write_with(draft: Draft, shared: SharedRequest) -> None:
    """The half in which the call is due: the tool is offered, and every value is given."""
    text = shared.text
    if shared.missing is not None:
        value = capital(statement(draft, shared.missing, shared.values[shared.missing.key]))
        text = draft.joined(ended(text, draft), ended(value, draft))
    draft.say(text)
    draft.run([(shared.instance, shared.values)])


def write_without(draft: Draft, shared: SharedRequest) -> None:
    """The half in which it is not: no tool serves the request, or a value has to be asked for first."""
    if shared.missing is None:
        draft.facts["negative"] = draft.facts["kind"] = "removed"
        return refuse(draft, Wish(shared.instance.base, shared.text))
    draft.facts["kind"] = "full"
    draft.say(shared.text)
    note_missing(draft, shared.instance, [shared.missing])
    given = {key: value for key, value in shared.values.items() if key != shared.missing.key}
    draft.ask(shared.instance, [shared.missing], given)
    answer_fully(draft, shared.instance, shared.values, [shared.missing])
