"""Conversations in which a call needs what an earlier one returned, within one request or across two."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft, RepetitionError, Values
from data_pipeline.dialogues.pointing import best_hit, first_hit, nth, role_of, that, thing
from data_pipeline.dialogues.requests import one_request
from data_pipeline.links import Link, follows_at_once, links
from data_pipeline.relations import depends, suit
from data_pipeline.slots import Value
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import issues
from data_pipeline.wording import capital

_BRIDGES = (
    ("Great, ", "Now ", "Next, ", "Good. Now ", "Thanks, then ", "Perfect, ", "OK, then "),
    ("好的，那就", "接下来，", "那么", "好，再", "谢谢，然后", "行，那就", "可以，"),
)
_TURNS_BACK = (
    ("Actually, ", "On second thought, ", "Hmm, ", "Sorry, please ", "Change of plan: "),
    ("还是", "等一下，", "想了想，还是", "计划有变，", "不好意思，帮我"),
)
"""Openings where the user undoes or changes what was just done."""
_INDEFINITE = re.compile(r"^(\w+(?: \w+)?) an? ")
"""What was just made is no longer "a booking"."""
_FRAMES = (
    (
        "{}.",
        "Please {}.",
        "I need you to {}.",
        "{}",
        "Can you {}?",
        "I'd like you to {}.",
        "Could you {}?",
        "Help me {}.",
    ),
    ("{}。", "请{}。", "帮我{}。", "{}", "麻烦{}。", "能不能{}？", "我想{}。"),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tools of the set, and how the first serves the second."""

    first: ToolInstance
    second: ToolInstance
    link: Link

    @property
    def public(self) -> str:
        """Name of the parameter that the result fills."""
        return self.second.names[self.link.key]

    @property
    def shown(self) -> str:
        """What the value is called in the first tool's results."""
        return self.first.shown(self.link.column or self.link.field)


def write_chain(draft: Draft) -> None:
    """Two calls, the second with a value of the first's result; two loose requests where no tools are linked."""
    pairs = linked_pairs(draft)
    if not pairs:
        return write_two_requests(draft)
    pair = draft.rng.choice(pairs)
    if follows_at_once(pair.link, pair.second.base) and draft.rng.random() < 0.6:
        return _within(draft, pair)
    return _across(draft, pair)


def linked_pairs(draft: Draft) -> list[Pair]:
    """All linked tools of the set whose value survives the public face unchanged."""
    return [
        Pair(first, second, link)
        for first in draft.tool_set.instances
        for second in draft.tool_set.instances
        for link in links(first.base, second.base)
        if link.key in second.names and _is_plain(second, link)
    ]


def _is_plain(instance: ToolInstance, link: Link) -> bool:
    """Whether the face hands the parameter through as it is: then the result itself is the argument."""
    value = taken(12.5 if link.kind == "number" else "x")
    fact = instance.facts({link.key: value}).get(instance.names[link.key])
    return fact is not None and fact.arg == value.arg


def taken(value: Any) -> Value:
    """A value of a result, as an argument that the user never said."""
    return Value(value, str(value), {"": {"text": "", "result": value}})


def _shared(pair: Pair, first: Values, second: Values) -> Values:
    """What the second call takes over unsaid: a thing just made lies in the collection it was made in."""
    if pair.link.kind != "identifier" or pair.second.base.backing is None:
        return {}
    kinds = {param.key: param.kind for param in pair.first.params}
    return {
        param.key: first[param.key]
        for param in pair.second.params
        if param.key in first and param.key in second and param.key != pair.link.key and param.required
        if kinds[param.key] == param.kind and param.kind not in ("date", "time") and not param.kind.startswith("bool")
    }


def _same_place(pair: Pair, first: Values, second: Values) -> Values:
    """What the second request says again: who finds a job in Paris asks what it earns there."""
    if pair.link.kind != "row" or pair.second.base.backing is not None:
        return {}
    params = [param for param in pair.second.params if param.key in first and param.key in second]
    same = [p.key for p in params if p.kind == "pool" and p.key != pair.link.key]
    return {key: first[key] for key in same if suit(pair.second.params, {**second, key: first[key]})}


def _values_of_second(draft: Draft, pair: Pair) -> Values:
    """What the second call takes besides the first one's result, before which nobody knows what goes with that."""
    values = draft.values(pair.second)
    known = [p.key for p in pair.second.params if p.required or not depends(p, pair.link.key)]
    return {key: values[key] for key in known if key in values}


def _within(draft: Draft, pair: Pair) -> None:
    """One request for both; the first call's result feeds the second without another word of the user."""
    rng = draft.rng
    first, second = draft.values(pair.first), _values_of_second(draft, pair)
    shared = _shared(pair, first, second)
    second = {key: value for key, value in second.items() if key not in shared} | _same_place(pair, first, second)
    best = pair.link.kind == "row" and _ratings(pair) is not None and rng.random() < 0.6
    draft.say(_compound(draft, pair, first, second, best))
    (result,) = draft.call([(pair.first, first)])
    choices = pair.link.choices(pair.first.base, result)
    if not choices:
        raise RepetitionError
    place = _best(pair, result) if best else 0
    second = {**second, **shared, pair.link.key: taken(choices[place])}
    draft.facts["kind"] = "within"
    (outcome,) = draft.call(
        [(pair.second, second)], _seen(draft, pair, result, place if best else None, choices[place])
    )
    planned = [(pair.first, first), (pair.second, second)]
    if pair.link.kind != "row":
        draft.answer(planned, [result, outcome])
        return
    chosen = draft.sentence("chosen", m=str(choices[place]))
    draft.answer(planned[1:], [outcome], draft.joined(draft.report(planned[:1], [result]), chosen))


def _seen(draft: Draft, pair: Pair, result: Mapping[str, Any], best: int | None, value: Any) -> str:
    """What the first result says that matters: the value, and why this one."""
    if best is None:
        return f"{pair.shown} = {value}"
    rating = result[pair.link.field][best][str(_ratings(pair))]
    return f"{value}评分最高（{rating}）" if draft.chinese else f"{value} is rated best ({rating})"


def _compound(draft: Draft, pair: Pair, first: Values, second: Values, best: bool) -> str:
    """The request for both tools, with a pointer where the linked value will stand."""
    rng, param = draft.rng, pair.second.base.param(pair.link.key)
    a = draft.core(pair.first, first)
    rest = {key: value for key, value in second.items() if key != param.key}
    found = pair.link.kind == "row"
    point = that if not found else best_hit if best else first_hit
    pointer = point(param, draft)
    if _is_inline(draft, pair, param):
        pointer += thing(param)[1:] if draft.chinese and found else ""
        b = _pointing(draft.core(pair.second, {**second, param.key: Value(None, pointer)}), param, pointer)
        layout = draft.sentence("use_inline", a="{a}", b="{b}")
    else:
        b = draft.core(pair.second, rest)
        kind = {"row": "use_row", "number": "use_number", "identifier": "use_id"}[pair.link.kind]
        kind = "use_row_id" if draft.chinese and found and param.kind == "ref" else kind
        layout = draft.sentence(kind, a="{a}", b="{b}", n=role_of(param, draft), r=pointer)
    layout = layout[:1].lower() + layout[1:]
    text = layout.replace("{a}", a)
    whole = re.sub(r"(?<=\. )\{b\}", lambda _: capital(b), text).replace("{b}", b)
    frames = [f for f in _FRAMES[draft.chinese] if "。" not in whole and ". " not in whole] or [
        "{}。" if draft.chinese else "{}."
    ]
    return capital(rng.choice(frames).format(whole))


def _is_inline(draft: Draft, pair: Pair, param: Param) -> bool:
    """Whether the pointer stands in the sentence like any other value: 评分最高的那位歌手的最热歌曲."""
    if pair.link.kind != "row":
        return pair.link.kind == "field"
    if draft.chinese:
        return pair.second.base.id.startswith("lookup_")
    inline = param.phrases_en and not any(p.startswith(":") for p in param.phrases_en)
    return bool(inline) and draft.rng.random() < 0.5


def _pointing(core: str, param: Param, pointer: str) -> str:
    """ "track order the first one" → "track the first one"; 那首歌这首歌 → 那首歌."""
    core = core.replace(f"{pointer}这{thing(param)}", pointer)
    return core.replace(f"{param.spec['kind']} {pointer}", pointer) if param.kind == "ref" else core


def _ratings(pair: Pair) -> str | None:
    """Column of the hits that says how good they are."""
    spec = pair.first.base.out[pair.link.field]
    return next((column for column in spec["of"] if column == "rating"), None)


def _best(pair: Pair, result: Mapping[str, Any]) -> int:
    """Place of the only best hit. Raises RepetitionError where two share it."""
    ratings = [row[str(_ratings(pair))] for row in result[pair.link.field]]
    if ratings.count(max(ratings)) > 1:
        raise RepetitionError
    return ratings.index(max(ratings))


def _across(draft: Draft, pair: Pair) -> None:
    """A request and its answer, then a second request about what the answer said."""
    first = draft.values(pair.first)
    result = one_request(draft, pair.first, first)
    choices = pair.link.choices(pair.first.base, result)
    if not choices:
        raise RepetitionError
    again = _values_of_second(draft, pair)
    shared = _shared(pair, first, again)
    again = {key: value for key, value in again.items() if key not in shared} | _same_place(pair, first, again)
    place = draft.rng.randrange(len(choices))
    text, value = _second_request(draft, pair, again, choices, place)
    draft.say(text)
    draft.facts["kind"] = "across"
    seen = "" if value.leaves[""] == value.text else f"{pair.shown} = {value.arg}"
    draft.run([(pair.second, {**again, **shared, pair.link.key: value})], seen)


def _second_request(draft: Draft, pair: Pair, again: Values, choices: Sequence[Any], place: int) -> tuple[str, Value]:
    """The second request and the value it points at: by place, by name, or as what was just made."""
    chinese, key = draft.chinese, pair.link.key
    value = taken(choices[place])
    others = {k: v for k, v in again.items() if k != key}
    if pair.link.kind in ("row", "field"):
        named = draft.rng.random() < 0.4
        if named:
            value = Value(choices[place], str(choices[place]), {"": str(choices[place])})
        return f"{draft.rng.choice(_BRIDGES[chinese])}{_about_found(draft, pair, others, value, place)}", value
    core = draft.core(pair.second, others)
    if pair.link.kind == "number":
        noun = draft.noun(pair.second.base.param(key))
        core += f"，{noun}就用这个结果" if chinese else f" with that result as the {noun}"
    elif pair.second.base.backing is not None:  # descriptions speak of "an order"; here it is the one just made
        thing = str(issues(pair.first.base)).rpartition("/")[2].replace("_", " ")
        core = re.sub(rf"\b(?:an?|the) (?:existing |specific |single )?(?={thing}\b)", "that ", core, count=1)
    undoes = pair.second.base.act in ("cancel", "update")
    core = _INDEFINITE.sub(r"\1 that ", core) if undoes and not chinese else core
    bridge = draft.rng.choice((_TURNS_BACK if undoes else _BRIDGES)[chinese])
    end = "吧。" if bridge.endswith("还是") else "。" if chinese else "."
    return f"{bridge}{core}{end}", value


def _about_found(draft: Draft, pair: Pair, others: Values, value: Value, place: int) -> str:
    """A request about something that was found, by its name where the user says that, else by its place."""
    param, pointer = pair.second.base.param(pair.link.key), value.text
    named = value.leaves[""] == value.text
    if not named:
        pointer = nth(param, place, draft) if pair.link.kind == "row" else that(param, draft)
        if draft.chinese and param.kind == "ref":  # "the second order number" is nothing that one could cancel
            return f"{draft.core(pair.second, others)}，就是{pointer}。"
    core = draft.core(pair.second, {**others, param.key: Value(None, pointer)})
    return f"{core if named else _pointing(core, param, pointer)}{'。' if draft.chinese else '.'}"


def write_two_requests(draft: Draft) -> None:
    """Two requests one after the other; the second may name "the same city" as the first."""
    rng, chinese = draft.rng, draft.chinese
    draft.facts["kind"] = "two_requests"
    first = draft.pick()
    values = draft.values(first)
    one_request(draft, first, values)
    second = rng.choice([i for i in draft.tool_set.instances if i is not first] or [first])
    again = draft.values(second)
    shared = [
        key
        for key in again
        if key in values and second.base.param(key).kind == "pool" and second is not first
        if again[key].arg != values[key].arg
        and not second.base.param(key).spec.get("near")
        and suit(second.params, {**again, key: values[key]})
    ]
    for key in shared[:1]:
        param = second.base.param(key)
        same = f"同一{thing(param)}" if chinese else f"the same {draft.noun(param)}"
        again[key] = Value(values[key].arg, same, values[key].leaves)
    draft.say(draft.request(second, again))
    for key in shared[:1]:
        again[key] = values[key]
    draft.run([(second, again)])
