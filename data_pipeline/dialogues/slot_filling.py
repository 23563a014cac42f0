"""Conversations in which something required is missing: it is asked for, looked up or never had, but not made up."""

from collections.abc import Sequence

from data_pipeline.catalogue import Param
from data_pipeline.dates import ambiguous_date
from data_pipeline.dialogues.draft import Draft, RepetitionError, Values
from data_pipeline.dialogues.requests import (
    ended,
    is_askable,
    is_changeable,
    ordinal,
    statement,
    withdraw,
    write_single,
)
from data_pipeline.links import Link, finds_identifiers, links
from data_pipeline.replies import is_plural
from data_pipeline.slots import Value, join_words, sample
from data_pipeline.surface import ToolInstance
from data_pipeline.wording import capital, phrase

_ANSWERS = {"full": 52, "partial": 14, "too_much": 18, "withheld": 16}
"""How users answer the question, and weights."""
_UNCLEAR = 0.5
"""Share of the conversations, where the date is known and a tool takes one, in which the user's words leave it open."""
_PRIVATE = ("email", "phone", "person", "code", "money", "ref")
"""Kinds that a user may not want to give."""
_KEPT = ("email", "phone", "code", "ref")
"""Kinds that a user has written down somewhere."""
_UNSPOKEN = ("objects", "object", "quoted")
"""Kinds whose words already stand on their own."""


def write_slot_filling(draft: Draft) -> None:
    """A request without one or two of its required values."""
    if (lookup := _lookup(draft)) is not None and draft.rng.random() < 0.5:
        return _look_up(draft, *lookup)
    if draft.rng.random() < _UNCLEAR and _clear_up(draft):
        return
    usable = [i for i in draft.tool_set.instances if any(is_askable(p) for p in i.params)]
    if not usable:
        return write_single(draft)
    how = draft.rng.choices(list(_ANSWERS), list(_ANSWERS.values()))[0]
    if how == "partial":
        usable = [i for i in usable if sum(is_askable(p) for p in i.params) > 1] or usable
    instance = draft.rng.choice(usable)
    values = draft.values(instance)
    missing = _left_out(draft, instance, values, how)
    draft.facts["kind"] = how if how != "partial" or len(missing) > 1 else "full"
    open_request(draft, instance, values, missing)
    _ANSWERED[how](draft, instance, values, missing)


def open_request(draft: Draft, instance: ToolInstance, values: Values, missing: Sequence[Param]) -> None:
    """The user asks without `missing`, the assistant asks for it. Raises RepetitionError where it is said anyway."""
    given = {key: value for key, value in values.items() if key not in {p.key for p in missing}}
    text = draft.request(instance, given)
    if any(isinstance(values[p.key].arg, str) and values[p.key].arg.casefold() in text.casefold() for p in missing):
        raise RepetitionError
    draft.say(text)
    note_missing(draft, instance, missing)
    draft.ask(instance, missing, given)


def note_missing(draft: Draft, instance: ToolInstance, missing: Sequence[Param]) -> None:
    """Note for the gates what is missing, and what all parameters of the tool are called."""
    draft.facts["missing"] = named(draft, instance, missing)
    draft.facts["nouns"] = [draft.noun(p) for p in instance.params]


def named(draft: Draft, instance: ToolInstance, params: Sequence[Param]) -> list[dict[str, str]]:
    """Public name and noun of each parameter, for the gates."""
    return [{"name": instance.names[p.key], "noun": draft.noun(p)} for p in params]


def _left_out(draft: Draft, instance: ToolInstance, values: Values, how: str) -> list[Param]:
    askable = [p for p in instance.params if is_askable(p) and p.key in values]
    two = len(askable) > 1 and (how == "partial" or (how == "full" and draft.rng.random() < 0.25))
    chosen = draft.rng.sample(askable, 2 if two else 1)
    return [param for param in askable if param in chosen]


def given_words(draft: Draft, values: Values, params: Sequence[Param]) -> str:
    """The user's answer that gives `params`."""
    if len(params) > 1:
        texts = [phrase(p, values[p.key], draft.language, draft.rng).lstrip(":：， ") for p in params]
        return capital(("，" if draft.chinese else ", ").join(texts))
    (param,) = params
    text = draft.named(param, values[param.key])
    if param.kind in _UNSPOKEN or draft.rng.random() < 0.2:
        return text
    noun = draft.noun(param)
    many = not draft.chinese and is_plural(noun)
    return draft.words("give_many" if many else "give", t=text, T=capital(text), n=noun)


def answer_fully(draft: Draft, instance: ToolInstance, values: Values, missing: Sequence[Param]) -> None:
    """The user gives all that is missing, and the call is made."""
    draft.say(given_words(draft, values, missing))
    draft.run([(instance, values)])


def _partial(draft: Draft, instance: ToolInstance, values: Values, missing: Sequence[Param]) -> None:
    if len(missing) < 2:
        return answer_fully(draft, instance, values, missing)
    first, second = missing
    draft.say(given_words(draft, values, [first]))
    draft.facts["asked_again"] = named(draft, instance, [second])
    given = {key: value for key, value in values.items() if key != second.key}
    draft.ask(instance, [second], given, "ask_again")
    draft.say(given_words(draft, values, [second]))
    draft.run([(instance, values)])


def _too_much(draft: Draft, instance: ToolInstance, values: Values, missing: Sequence[Param]) -> None:
    """The answer also gives an optional value, or corrects one that was given before."""
    rng = draft.rng
    reply = ended(given_words(draft, values, missing), draft)
    optional = [p for p in instance.params if not p.required and p.key not in values and is_changeable(p)]
    said = [p for p in instance.params if p.key in values and p not in missing and is_changeable(p)]
    if optional and (not said or rng.random() < 0.55):
        param = rng.choice(optional)
        values = {**values, param.key: sample(param.spec, draft.context(given=values))}
        draft.say(draft.words("also", A=reply, x=statement(draft, param, values[param.key])))
        draft.run([(instance, values)])
        return
    if not said:
        draft.facts["kind"] = "full"
        return answer_fully(draft, instance, values, missing)
    param = rng.choice(said)
    old, new = values[param.key], draft.another(param, [value.arg for value in values.values()])
    after = {**values, param.key: new}
    told, meant = draft.named(param, old), draft.named(param, new)
    draft.say(draft.words("slip_said", A=reply, o=told, t=meant, n=draft.noun(param)))
    withdraw(draft, instance, values, after)
    draft.run([(instance, after)])


def _withheld(draft: Draft, instance: ToolInstance, values: Values, missing: Sequence[Param]) -> None:
    """The user does not know the value, or does not want to give it: nothing is called."""
    nouns = join_words([draft.noun(p) for p in missing], draft.language)
    refuses = missing[0].kind in _PRIVATE and draft.rng.random() < 0.5
    unknown = "unknown_id" if missing[0].kind in _KEPT else "unknown"
    draft.say(draft.words("refuse" if refuses else unknown, n=nouns))
    draft.facts["withheld"] = named(draft, instance, missing)
    text = draft.sentence("held_refused" if refuses else "held_unknown", n=nouns, h=draft.head(instance.base))
    draft.talk(text, "withheld", n=nouns, t=instance.tool.name)


def _clear_up(draft: Draft) -> bool:
    """The user names a day that can be two; the assistant asks which one. False where no day can be unclear."""
    today = draft.tool_set.today
    dates = [(i, p) for i in draft.tool_set.instances for p in i.params if p.kind == "date" and p.required]
    dated = [(i, p) for i, p in dates if not p.spec.get("past")]
    if today is None or not dated:
        return False
    instance, param = draft.rng.choice(dated)
    values = draft.values(instance)
    words, question, readings = ambiguous_date(today, draft.language, draft.rng)
    text = draft.request(instance, {**values, param.key: Value(words, words, {"": words})})
    if words not in text:
        raise RepetitionError  # the sentence changed the words
    draft.facts["kind"] = "unclear"
    name, days = instance.names[param.key], [day.isoformat() for _, day in readings]
    draft.facts["ambiguous"] = {"name": name, "text": words, "readings": days}
    draft.say(text)
    draft.talk(question, "unclear", t=instance.tool.name, w=words)
    clear, day = draft.rng.choice(readings)
    draft.say(draft.words("pick", t=clear, T=capital(clear)))
    draft.run([(instance, {**values, param.key: Value(day.isoformat(), clear, {"": clear})})])
    return True


def _lookup(draft: Draft) -> tuple[ToolInstance, ToolInstance, Link] | None:
    """(finder, tool, link): a tool whose list holds the identifier that another one needs."""
    found = [
        (finder, instance, link)
        for finder in draft.tool_set.instances
        if finds_identifiers(finder.base) and not any(p.required for p in finder.params)
        for instance in draft.tool_set.instances
        for link in links(finder.base, instance.base)
        if instance.base.param(link.key).kind == "ref" and link.column
    ]
    return draft.rng.choice(found) if found else None


def _look_up(draft: Draft, finder: ToolInstance, instance: ToolInstance, link: Link) -> None:
    """The user does not know the identifier; another tool finds it, the user says which one is meant."""
    param = instance.base.param(link.key)
    values = draft.values(instance)
    draft.facts["kind"] = "looked_up"
    open_request(draft, instance, values, [param])
    draft.say(draft.words("looked_up", n=draft.noun(param)))
    (result,) = draft.call([(finder, {})])
    draft.reply(draft.joined(draft.report([(finder, {})], [result]), draft.sentence("which")))
    rows = link.choices(finder.base, result)
    draft.facts["looked_up"] = [{**named(draft, instance, [param])[0], "call": len(draft.calls) - 1}]
    place = draft.rng.randrange(len(rows))
    name = str(next(iter(result[link.field][place].values())))
    if name != str(rows[place]) and draft.rng.random() < 0.5:
        draft.say(draft.words("pick_named", t=name, T=capital(name)))
    else:
        draft.say(draft.words("pick_nth", k=ordinal(place, draft)))
    values[param.key] = Value(rows[place], str(rows[place]), {"": {"text": "", "result": rows[place]}})
    draft.run([(instance, values)], f"{instance.names[param.key]} = {rows[place]}")


_ANSWERED = {"full": answer_fully, "partial": _partial, "too_much": _too_much, "withheld": _withheld}
