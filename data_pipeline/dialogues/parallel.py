"""Conversations in which one request needs several calls at once, none of which waits for another."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft, Planned, Values
from data_pipeline.dialogues.requests import write_single
from data_pipeline.slots import Value, join_words, sample
from data_pipeline.surface import ToolInstance
from data_pipeline.wording import attribute, capital

VARIED = ("pool", "enum", "int", "num", "money", "pct", "year", "company", "person")
"""Kinds of values that a user lists, or changes from one request to the next."""
_LIMITS = ("limit", "max_price", "min_rating", "rent_max")
"""Bounds of a search: nobody asks for the same with two of them."""
_TRIES = 20
_LINKS = ((", and ", " and also ", ", then ", ". Also ", "; and "), ("，再", "，然后", "。另外", "，顺便", "，同时"))
_FRAMES = (
    ("{}.", "Please {}.", "I need you to {}.", "{}", "Can you {}?", "I'd like to {}."),
    ("{}。", "请{}。", "帮我{}。", "{}", "麻烦{}。"),
)
_TO_ME = re.compile(r"\bme\b")
_REPEATS = (
    ("{0}. Then {1}.", "{0}, and {1}.", "{0}; also {1}.", "Two things: {0}, and {1}.", "Please {0} and then {1}."),
    ("{0}，再{1}。", "{0}。另外{1}。", "两件事：{0}；{1}。", "请{0}，然后{1}。"),
)
_SECOND_SET = ("{0}。再算一组：{1}。", "{0}。另外一组：{1}。", "一共两组：{0}；{1}。", "请{0}；还有一组，{1}。")


def write_parallel(draft: Draft) -> None:
    """Two tools, one tool for several values, or one tool twice."""
    if len(draft.tool_set.instances) >= 2 and draft.rng.random() < 0.45:
        return _two_tools(draft)
    usable = [
        (i, p)
        for i in draft.tool_set.instances
        if i.base.act in ("get", "search", "compute")
        for p in i.params
        if p.required and p.kind in VARIED and p.key not in _LIMITS
    ]
    if not usable:
        return _repeat(draft, draft.pick())
    instance, param = draft.rng.choice(usable)
    if param.phrases_en == () or (len(usable) > 2 and draft.rng.random() < 0.3):
        return _repeat(draft, instance)
    values = draft.values(instance)
    several: dict[str, Value] = {}
    wanted = draft.rng.choice((2, 2, 3))
    for _ in range(_TRIES):
        value = sample(param.spec, draft.context(given=values))
        if len(several) < wanted:
            several.setdefault(str(value.arg), value)
    if len(several) < 2:
        return _repeat(draft, instance)
    joined = Value(None, join_words([value.text for value in several.values()], draft.language))
    text = draft.request(instance, {**values, param.key: joined})
    titles = join_words([f"《{value.text}》" for value in several.values()], draft.language)
    draft.say(text.replace(f"《{joined.text}》", titles))
    draft.facts["kind"] = "listed"
    planned = [(instance, {**values, param.key: value}) for value in several.values()]
    results = draft.call(planned)
    if instance.base.backing is not None or any(set(result) <= {"result", "unit", "status"} for result in results):
        draft.answer(planned, results)
        return
    _answer_each(draft, param, planned, results)


def _labelled(draft: Draft, param: Param, value: Value, text: str) -> str:
    """An answer that says which of the values it is for."""
    # The 7 of "7 liters" also stands in "8.57 minutes", so a number has to be there with its unit.
    said = value.text if isinstance(value.arg, int | float) else str(value.arg)
    if said.casefold() in text.casefold():
        return text
    if draft.chinese:
        return f"{draft.noun(param) if value.text.isdigit() else ''}{value.text}：{text}"
    return f"For {value.text}, {text if text.startswith('I ') else text[:1].lower() + text[1:]}"


def _two_tools(draft: Draft) -> None:
    planned = [(i, draft.values(i)) for i in draft.rng.sample(draft.tool_set.instances, 2)]
    text = draft.rng.choice(_LINKS[draft.chinese]).join(draft.core(i, v) for i, v in planned)
    frames = _FRAMES[draft.chinese] if draft.chinese else [f for f in _FRAMES[0] if _is_sayable(f, text)]
    draft.say(capital(draft.rng.choice(frames).format(text)))
    draft.facts["kind"] = "two_tools"
    draft.run(planned)


def _is_sayable(frame: str, text: str) -> bool:
    """Nobody asks "Can you …. Also …?", or says "I'd like to tell me …"."""
    return not ("?" in frame and ". " in text) and not ("I'd" in frame and _TO_ME.search(text))


def _repeat(draft: Draft, instance: ToolInstance) -> None:
    """The same tool twice with different values."""
    first = draft.values(instance)
    second = draft.drawn([instance.base.param(key) for key in first])
    if all(second[key].arg == first[key].arg for key in first if key not in _LIMITS):
        return write_single(draft)
    draft.say(_twice(draft, instance, first, second))
    draft.facts["kind"] = "repeated"
    planned = [(instance, first), (instance, second)]
    results = draft.call(planned)
    required = [p for p in instance.params if p.required and p.kind in VARIED]
    param = next((p for p in required if first[p.key].arg != second[p.key].arg), None)
    if instance.base.backing is not None or param is None or any("results" not in result for result in results):
        draft.answer(planned, results)
    else:
        _answer_each(draft, param, planned, results)


def _answer_each(draft: Draft, param: Param, planned: Sequence[Planned], results: Sequence[Mapping[str, Any]]) -> None:
    """One report after the other, each with the value of `param` that it is for."""
    told = [draft.report([each], [result]) for each, result in zip(planned, results, strict=True)]
    labelled = [_labelled(draft, param, v[param.key], text) for (_, v), text in zip(planned, told, strict=True)]
    draft.reply(draft.joined(*labelled))


def _twice(draft: Draft, instance: ToolInstance, first: Values, second: Values) -> str:
    """One request for both sets of values; in Chinese a second set of numbers needs no second verb."""
    params = [instance.base.param(key) for key in second]
    if draft.chinese and instance.base.backing is None and not any(p.phrases_zh for p in params):
        numbers = "，".join(attribute(p, second[p.key], "zh", draft.rng) for p in params)
        return str(draft.rng.choice(_SECOND_SET)).format(draft.core(instance, first), numbers)
    texts = [draft.core(instance, values) for values in (first, second)]
    return capital(draft.rng.choice(_REPEATS[draft.chinese]).format(*texts))
