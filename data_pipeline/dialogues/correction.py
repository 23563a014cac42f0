"""Conversations in which users change their mind: a slip of the tongue, a value put right afterwards, never mind."""

from collections.abc import Sequence
from dataclasses import dataclass

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft, Values
from data_pipeline.dialogues.requests import ended, is_askable, is_changeable, one_request, withdraw
from data_pipeline.dialogues.slot_filling import given_words, open_request
from data_pipeline.slots import Value
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import consumes, issued_identifier, issues
from data_pipeline.wording import capital

_READING = ("get", "search", "compute", "convert", "quote")
"""Acts that change nothing, so that doing them again is harmless."""
_KINDS = {"slip": 28, "asked": 18, "after": 34, "dropped": 20}


@dataclass(frozen=True, slots=True)
class Change:
    """A value of a request that another one takes the place of."""

    instance: ToolInstance
    param: Param
    before: Values
    after: Values

    @property
    def old(self) -> Value:
        """What was said first."""
        return self.before[self.param.key]

    @property
    def new(self) -> Value:
        """What is meant."""
        return self.after[self.param.key]


def write_correction(draft: Draft) -> None:
    """One of `_KINDS`; what the tools do not allow becomes a slip within the request."""
    kind = draft.rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    if not _WRITERS[kind](draft) and not _slip(draft):
        _dropped(draft)


def _change(draft: Draft, instances: Sequence[ToolInstance]) -> Change | None:
    usable = [i for i in instances if any(p.required and is_changeable(p) for p in i.params)]
    if not usable:
        return None
    instance = draft.rng.choice(usable)
    before = draft.values(instance)
    param = draft.rng.choice([p for p in instance.params if p.key in before and is_changeable(p)])
    taken = [value.arg for value in before.values()]
    after = {**before, param.key: draft.another(param, taken, before)}
    return Change(instance, param, before, after)


def _correcting(draft: Draft, kind: str, change: Change, **slots: str) -> str:
    """The user's correction; of a bare number it says what it is the number of."""
    options = draft.options(kind)
    if change.old.text.isdigit():
        options = [option for option in options if "{n}" in option] or options
    noun = draft.noun(change.param)
    old, new = (draft.named(change.param, value) for value in (change.old, change.new))
    return capital(str(draft.rng.choice(options)).format(o=old, t=new, n=noun, **slots))


def _slip(draft: Draft) -> bool:
    """The user says one value and puts it right in the same breath."""
    change = _change(draft, draft.tool_set.instances)
    if change is None:
        return False
    text = ended(draft.request(change.instance, change.before, bare=True), draft)
    draft.say(_correcting(draft, "slip", change, R=text))
    withdraw(draft, change.instance, change.before, change.after)
    draft.facts["kind"] = "slip"
    draft.run([(change.instance, change.after)])
    return True


def _asked(draft: Draft) -> bool:
    """Something is missing; with the answer the user also puts another value right."""
    usable = [i for i in draft.tool_set.instances if sum(is_askable(p) for p in i.params) > 1]
    change = _change(draft, usable)
    if change is None:
        return False
    instance = change.instance
    askable = [p for p in instance.params if is_askable(p) and p is not change.param]
    if not askable:
        return False
    missing = draft.rng.choice(askable)
    open_request(draft, instance, change.before, [missing])
    answer = ended(given_words(draft, change.after, [missing]), draft)
    draft.say(_correcting(draft, "slip_said", change, A=answer))
    withdraw(draft, instance, change.before, change.after)
    draft.facts["kind"] = "asked"
    draft.run([(instance, change.after)])
    return True


def _after(draft: Draft) -> bool:
    """The value is put right after the call: done again where that is harmless, else moved or cancelled first."""
    moved = [i for i in draft.tool_set.instances if _canceller(draft, i) or _takers(draft, i, "update")]
    if moved and draft.rng.random() < 0.7:
        return _rebook(draft, moved)
    change = _change(draft, [i for i in draft.tool_set.instances if i.base.act in _READING])
    if change is None:
        return _rebook(draft, moved)
    one_request(draft, change.instance, change.before)
    draft.say(_correcting(draft, "slip_after", change))
    withdraw(draft, change.instance, change.before, change.after)
    draft.facts["kind"] = "after"
    draft.run([(change.instance, change.after)])
    return True


def _takers(draft: Draft, instance: ToolInstance, act: str) -> list[ToolInstance]:
    """Tools of the set that act on what `instance` makes."""
    kind = issues(instance.base)
    return [i for i in draft.tool_set.instances if kind and i.base.act == act and consumes(i.base) == kind]


def _canceller(draft: Draft, instance: ToolInstance) -> ToolInstance | None:
    """The tool that undoes what `instance` makes and needs nothing but its identifier."""
    cancelling = _takers(draft, instance, "cancel")
    return next((i for i in cancelling if sum(p.required for p in i.params) == 1), None)


def _mover(draft: Draft, change: Change) -> ToolInstance | None:
    """The tool that changes just this parameter of what was made."""
    wanted = {("ref", issues(change.instance.base)), (change.param.kind, change.param.key)}
    for other in _takers(draft, change.instance, "update"):
        required = [p for p in other.params if p.required]
        if {(p.kind, p.spec["kind"] if p.kind == "ref" else p.key) for p in required} == wanted:
            return other
    return None


def _rebook(draft: Draft, moved: Sequence[ToolInstance]) -> bool:
    """What was made is moved, or else cancelled and made anew with the right value."""
    change = _change(draft, moved)
    mover = _mover(draft, change) if change else None
    canceller = _canceller(draft, change.instance) if change else None
    if change is None or (mover is None and canceller is None):
        return False
    made = issued_identifier(change.instance.base, one_request(draft, change.instance, change.before))
    draft.say(_correcting(draft, "slip_booked", change))
    withdraw(draft, change.instance, change.before, change.after)
    identifier = Value(made, str(made), {"": {"text": "", "result": made}})
    if mover is not None:
        draft.facts["kind"] = "moved"
        draft.run([(mover, {_reference(mover): identifier, change.param.key: change.new})], f"{_noted(change)}{made}")
        return True
    assert canceller is not None
    draft.facts["kind"] = "rebooked"
    draft.call([(canceller, {_reference(canceller): identifier})], f"{_noted(change)}{made}")
    cancelled = f"{made}已取消" if draft.chinese else f"{made} is cancelled"
    results = draft.call([(change.instance, change.after)], cancelled)
    draft.answer([(change.instance, change.after)], results, draft.sentence("moved", i=str(made)))
    return True


def _reference(instance: ToolInstance) -> str:
    return next(p.key for p in instance.params if p.kind == "ref" and p.required)


def _noted(change: Change) -> str:
    return f"{change.instance.tool.name}: "


def _dropped(draft: Draft) -> bool:
    """A first request is served; a second one is taken back, in the same breath or when asked for a detail."""
    first, second = draft.pick(), draft.pick()
    one_request(draft, first, draft.values(first))
    values = draft.values(second)
    askable = [p for p in second.params if is_askable(p)]
    draft.facts["kind"] = "dropped"
    if askable and draft.rng.random() < 0.5:
        missing = draft.rng.choice(askable)
        given = {key: value for key, value in values.items() if key != missing.key}
        draft.say(draft.request(second, given))
        draft.ask(second, [missing], given)
        draft.say(draft.words("drop_after"))
    else:
        text = ended(draft.request(second, values, bare=True), draft)
        draft.say(draft.words("drop", R=text))
    draft.facts["dropped"] = draft.turns - 1
    draft.talk(draft.sentence("dropped"), "stop", t=second.tool.name)
    return True


_WRITERS = {"slip": _slip, "asked": _asked, "after": _after, "dropped": _dropped}
