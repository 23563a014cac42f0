"""Conversations in which a call fails or finds nothing: the assistant says so, and the user decides how to go on.

Only where the error itself says how the call has to look (an id written differently, a cap on the number of hits) does
the assistant repair it without asking, and tells what it changed.
"""

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.chain import taken
from data_pipeline.dialogues.draft import Draft, RepetitionError, Values
from data_pipeline.dialogues.requests import is_askable, ordinal
from data_pipeline.dialogues.trouble import (
    Trouble,
    check_fits,
    fail,
    go_on,
    kinds_of,
    public_value,
    values_of,
)
from data_pipeline.slots import Value
from data_pipeline.wording import capital

_WEIGHTS = {
    "sold_out": 6,
    "conflict": 4,
    "empty": 5,
    "not_found": 4,
    "misspelt": 2,
    "respelled": 4,
    "capped": 4,
    "invalid": 2,
    "refused": 1,
}
"""Kinds of trouble and how often they are chosen where they are possible."""
_UNLIKELY = 0.05
"""Weight of a refusal without a reason where anything better is to be had."""

_MOST_HITS = 3
"""Hits of a search, which a cap does not cut off."""


def write_recovery(draft: Draft) -> None:
    """A call that fails because of one of its values, and the way out."""
    troubles = [Trouble(kind, i, p) for i in draft.tool_set.instances for p in i.params for kind in kinds_of(i, p)]
    if not troubles:
        troubles = [Trouble("refused", i, p) for i in draft.tool_set.instances for p in i.params if is_askable(p)]
    for kind in _in_drawn_order(list(dict.fromkeys(t.kind for t in troubles)), draft.rng):
        draft.facts["kind"] = kind
        try:
            return _WRITERS[kind](draft, draft.rng.choice([t for t in troubles if t.kind == kind]))
        except RepetitionError:
            if draft.turns:
                raise
    raise RepetitionError


def _in_drawn_order(kinds: list[str], rng: random.Random) -> list[str]:
    """By weight; a refusal without a reason only where nothing better is to be had."""
    weights = {kind: _WEIGHTS[kind] if kind != "refused" or len(kinds) == 1 else _UNLIKELY for kind in kinds}
    return sorted(kinds, key=lambda kind: rng.random() ** (1 / weights[kind]), reverse=True)


def _taken(draft: Draft, trouble: Trouble) -> None:
    """Sold out or in conflict, with what is still to be had."""
    param, values = trouble.param, values_of(draft, trouble)
    value = values[param.key]
    shown = public_value(trouble, values, value)
    free = [(item, public_value(trouble, values, item)) for item in _alternatives(draft, param, values)]
    public = trouble.instance.labels[param.key]
    available = [item for _, item in free]
    outcome: dict[str, Any] = {"error": trouble.kind, public: shown, "available": available}
    worded = param.kind == "enum"  # codes are for machines
    slots = {"v": value.text, "l": _or([item.text if worded else str(told) for item, told in free], draft)}
    if trouble.kind == "conflict":
        other = draft.rng.choice(draft.catalogue.pools["title"])[draft.chinese]
        outcome = {"error": "conflict", public: shown, "conflicts_with": other, "available": available}
        slots["w"] = other
    fail(draft, trouble, values, outcome, trouble.kind)
    said = f"{trouble.kind}（{shown}）" if draft.chinese else f"{trouble.kind} for {shown}"
    draft.tell_failure(draft.sentence(trouble.kind, **slots), said)
    place = draft.rng.randrange(len(free))
    chosen = _choose(draft, free, place, worded)
    seen = f"available[{place}] = {available[place]}" if "result" in str(chosen.leaves) else ""
    go_on(draft, trouble, values, chosen, seen)


def _choose(draft: Draft, free: Sequence[tuple[Value, Any]], place: int, worded: bool) -> Value:
    """The user takes one of what is free (value, as the error shows it): by its place, or by name."""
    item, shown = free[place]
    value = Value(item.arg, str(shown), {"": {"text": "", "result": shown, "shown": shown}})
    value = taken(item.arg) if shown == item.arg else value
    if len(free) == 1 and draft.rng.random() < 0.6:
        draft.say(draft.words("pick_only"))
        return value
    if len(free) > 1 and draft.rng.random() < 0.45:
        draft.say(draft.words("pick_nth", k=ordinal(place, draft)))
        return value
    text = item.text if worded else str(shown)
    draft.say(draft.words("pick", t=text, T=capital(text)))
    if worded:
        return item
    return Value(item.arg, text, {"": text if shown == item.arg else {"text": text, "shown": shown}})


def _alternatives(draft: Draft, param: Param, values: Values) -> list[Value]:
    """One to three values that are free: near in time, else any others."""
    value = values[param.key]
    number = draft.rng.choice((1, 2, 2, 3))
    if param.kind == "date":
        day = date.fromisoformat(str(value.arg))
        days = sorted(draft.rng.sample(range(1, 6), number))
        return [taken((day + timedelta(n)).isoformat()) for n in days]
    if param.kind == "time":
        hour, minute = (int(part) for part in str(value.arg).split(":"))
        hours = [h for h in (hour - 2, hour - 1, hour + 1, hour + 2) if 7 <= h <= 22]
        return [taken(f"{h:02d}:{minute:02d}") for h in sorted(draft.rng.sample(hours, min(number, len(hours))))]
    found: list[Value] = []
    for _ in range(number):
        found.append(draft.another(param, [value.arg, *(item.arg for item in found)], values))
    return found


def _or(texts: Sequence[str], draft: Draft) -> str:
    """ "a, b or c" / a、b或c."""
    if len(texts) == 1:
        return texts[0]
    comma, link = ("、", "或") if draft.chinese else (", ", " or ")
    return comma.join(texts[:-1]) + link + texts[-1]


def _empty(draft: Draft, trouble: Trouble) -> None:
    """A search finds nothing: an optional filter is dropped, a required value replaced, if the user agrees."""
    param, values = trouble.param, values_of(draft, trouble)
    value = values[param.key]
    fail(draft, trouble, values, {"results": []}, "empty")
    said = "results为空" if draft.chinese else "nothing was found"
    if not param.required:
        named = draft.noun(param) if draft.chinese else f"the {draft.noun(param)}"
        draft.tell_failure(draft.sentence("empty_drop", x=named), said)
        draft.say(draft.words("drop_yes"))
        return go_on(draft, trouble, values, Value(None, ""))
    draft.tell_failure(draft.sentence("empty_other", v=value.text, n=draft.noun(param)), said)
    new = draft.another(param, [value.arg], values)
    draft.say(draft.words("try_other", t=new.text, T=capital(new.text)))
    go_on(draft, trouble, values, new)


def _not_found(draft: Draft, trouble: Trouble) -> None:
    """An identifier that does not exist; the user looks again."""
    param, values = trouble.param, values_of(draft, trouble)
    right = values[param.key]
    wrong = _with_other_digits(str(right.arg), draft.rng)
    values = {**values, param.key: Value(wrong, wrong, {"": wrong})}
    public = trouble.instance.labels[param.key]
    fail(draft, trouble, values, {"error": "not_found", public: wrong}, "not_found")
    said = f"not_found（{wrong}）" if draft.chinese else f"not_found for {wrong}"
    draft.tell_failure(draft.sentence("not_found", v=wrong, n=draft.noun(param)), said)
    draft.say(draft.words("other", t=right.text, T=capital(right.text)))
    go_on(draft, trouble, values, right)


def _with_other_digits(text: str, rng: random.Random) -> str:
    """`text` with two neighbouring digits swapped, or one digit changed. Raises RepetitionError without digits."""
    places = [i for i, char in enumerate(text) if char.isdigit()]
    if not places:
        raise RepetitionError
    for i in rng.sample(places, len(places)):
        if i + 1 in places and text[i] != text[i + 1]:
            return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    i = places[-1]
    return text[:i] + str((int(text[i]) + rng.randint(1, 9)) % 10) + text[i + 1 :]


def _misspelt(draft: Draft, trouble: Trouble) -> None:
    """A name with a slip of the keyboard; the result offers the closest one, the user confirms it."""
    param, values = trouble.param, values_of(draft, trouble)
    right = str(values[param.key].arg)
    wrong = _mistyped(right, draft)
    values = {**values, param.key: Value(wrong, wrong, {"": wrong})}
    public = trouble.instance.labels[param.key]
    fail(draft, trouble, values, {"error": "not_found", public: wrong, "did_you_mean": right}, "not_found")
    said = f"not_found，最接近{right}" if draft.chinese else f"not_found, closest is {right}"
    marked, meant = (draft.named(param, Value(name, name)) for name in (wrong, right))
    draft.tell_failure(draft.sentence("not_found_hint", v=marked, m=meant), said)
    draft.say(draft.words("confirm", m=meant))
    spoken = right in str(draft.messages[-1].content)
    new = Value(right, right, {"": right}) if spoken else taken(right)
    go_on(draft, trouble, values, new, "" if spoken else f"did_you_mean = {right}")


def _mistyped(text: str, draft: Draft) -> str:
    """Two neighbouring letters of one script in the wrong order. Raises RepetitionError where that changes nothing."""
    first = 0 if draft.chinese and len(text) > 2 else 1
    places = [
        i
        for i, (left, right) in enumerate(pairwise(text))
        if i >= first and (left + right).isalpha() and left.lower() != right.lower()
        if left.isascii() == right.isascii()
    ]
    if len(text) < 3 or not places:
        raise RepetitionError
    i = draft.rng.choice(places)
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def _respelled(draft: Draft, trouble: Trouble) -> None:
    """An identifier in lower case or without its hyphen; the error says how it is filed, so no question is due."""
    param, values = trouble.param, values_of(draft, trouble)
    right = str(values[param.key].arg)
    loose = right.lower() if "-" not in right or draft.rng.random() < 0.5 else right.replace("-", "")
    if loose == right:
        raise RepetitionError
    values = {**values, param.key: Value(loose, loose, {"": loose})}
    public = trouble.instance.labels[param.key]
    outcome = {"error": "invalid", public: loose, "expected": right}
    _repair(draft, trouble, values, outcome, taken(right), f"expected {right}", "respelled", m=right)


def _capped(draft: Draft, trouble: Trouble) -> None:
    """More hits are wanted than the tool gives at once; the error names the most there are."""
    param, values = trouble.param, values_of(draft, trouble)
    value = values[param.key].arg
    if not isinstance(value, int) or value <= _MOST_HITS:
        raise RepetitionError
    most = draft.rng.randint(_MOST_HITS, value - 1)
    outcome = {"error": "invalid", "parameter": trouble.instance.labels[param.key], "maximum": most}
    slots = {"m": str(most), "n": draft.noun(param)}
    _repair(draft, trouble, values, outcome, taken(most), f"maximum = {most}", "capped", **slots)


def _repair(
    draft: Draft,
    trouble: Trouble,
    values: Values,
    outcome: Mapping[str, Any],
    new: Value,
    seen: str,
    told: str,
    **slots: str,
) -> None:
    """The assistant calls again as the error says, and tells what it changed."""
    instance, key = trouble.instance, trouble.param.key
    after = {**values, key: new}
    if public_value(trouble, values, new) != new.arg:
        raise RepetitionError
    check_fits(instance, after)
    fail(draft, trouble, values, outcome, "invalid")
    results = draft.call([(instance, after)], seen)
    draft.answer([(instance, after)], results, draft.sentence(told, **slots))


def _invalid(draft: Draft, trouble: Trouble) -> None:
    """A number beyond what the tool takes; the user chooses one within."""
    param, values = trouble.param, values_of(draft, trouble)
    old, new = values[param.key], draft.another(param, [values[param.key].arg], values)
    if public_value(trouble, values, old) != old.arg:
        raise RepetitionError
    if min(float(old.arg), float(new.arg)) <= 0:
        raise RepetitionError
    if float(old.arg) < float(new.arg) and draft.rng.random() < 0.8:  # most limits are upper ones
        old, new = new, old
        values = {**values, param.key: old}
    high = float(old.arg) > float(new.arg)
    bound = "maximum" if high else "minimum"
    limit = _between(new.arg, old.arg)
    outcome = {"error": "invalid", "parameter": trouble.instance.labels[param.key], bound: limit}
    fail(draft, trouble, values, outcome, "invalid")
    said = f"invalid，{bound} = {limit}" if draft.chinese else f"invalid, {bound} = {limit}"
    slots = {"v": old.text, "m": str(limit), "n": draft.noun(param)}
    draft.tell_failure(draft.sentence("too_high" if high else "too_low", **slots), said)
    draft.say(draft.words("use_other", t=new.text, T=capital(new.text)))
    go_on(draft, trouble, values, new)


def _between(inside: float, outside: float) -> float:
    """A round limit that `inside` keeps and `outside` breaks; `inside` itself where none lies between."""
    for step in (1000, 500, 100, 50, 10, 5, 1):
        limit = (int(inside) // step + (1 if outside > inside and int(inside) % step else 0)) * step
        if min(inside, outside) <= limit <= max(inside, outside) and limit != outside and limit > 0:
            return limit
    return inside


def _refused(draft: Draft, trouble: Trouble) -> None:
    """A value that the tool does not take, without a reason; the user gives another one."""
    param, values = trouble.param, values_of(draft, trouble)
    value = values[param.key]
    outcome = {"error": "invalid", "parameter": trouble.instance.labels[param.key]}
    fail(draft, trouble, values, outcome, "invalid")
    public = trouble.instance.labels[param.key]
    said = f"invalid（{public}）" if draft.chinese else f"invalid for {public}"
    draft.tell_failure(draft.sentence("refused", v=value.text, n=draft.noun(param)), said)
    new = draft.another(param, [value.arg], values)
    draft.say(draft.words("other", t=new.text, T=capital(new.text)))
    go_on(draft, trouble, values, new)


_WRITERS = {
    "sold_out": _taken,
    "conflict": _taken,
    "empty": _empty,
    "not_found": _not_found,
    "misspelt": _misspelt,
    "respelled": _respelled,
    "capped": _capped,
    "invalid": _invalid,
    "refused": _refused,
}
