"""Writes one conversation: plan, execution on the world, and words, all from one random stream."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_pipeline.catalogue import NESTED, BaseTool, Catalogue, Param
from data_pipeline.replies import answer, head_of, replies, sentence, thought, thought_call
from data_pipeline.slots import Context, Value, join_words, sample
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import ToolSet, consumes, draw_tool, issued_identifier, issues, related
from data_pipeline.wording import attribute, capital, imperative, phrase, request
from data_pipeline.world import World
from fcdist.schema.conversation import Message, ToolCall

Values = dict[str, Value]
_VARIED = ("pool", "enum", "int", "num", "money", "pct", "year", "company", "person")


class RepetitionError(Exception):
    """Chance drew the same call or user turn twice; the caller draws again."""


@dataclass(slots=True)
class Draft:
    """A conversation being written."""

    tool_set: ToolSet
    catalogue: Catalogue
    language: str
    rng: random.Random
    world: World
    split: Sequence[BaseTool]
    """All base tools of this split; requests without a tool are drawn from them."""
    messages: list[Message] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """The words behind every call, for the gates."""
    made: list[ToolCall] = field(default_factory=list)

    def context(self, relative: bool = True) -> Context:
        """Sampling context; `relative` allows dates like "tomorrow" where the date is known."""
        today = self.tool_set.today if relative else None
        return Context(self.rng, self.language, today, self.catalogue.pools, self.world.issue)

    def say(self, text: str) -> None:
        """The user speaks."""
        if any(m.role == "user" and m.content == text for m in self.messages):
            raise RepetitionError
        self.messages.append(Message("user", text))

    def reply(self, text: str, thought_text: str | None = None) -> None:
        """The assistant speaks."""
        self.messages.append(Message("assistant", text, thought_text))

    def call(self, planned: Sequence[tuple[ToolInstance, Values]]) -> list[dict[str, Any]]:
        """The assistant calls; the world answers. Returns the results."""
        calls: list[ToolCall] = []
        results: list[dict[str, Any]] = []
        start = len(self.calls)
        for number, (instance, values) in enumerate(planned, start + 1):
            text = json.dumps(instance.arguments(values), ensure_ascii=False)
            if any(c.name == instance.tool.name and c.arguments == text for c in calls + self.made):
                raise RepetitionError
            calls.append(ToolCall(f"call_{number}", instance.tool.name, text))
            self.calls.append({"name": instance.tool.name, "spans": instance.spans(values)})
            results.append(self.world.execute(instance.base, {key: value.arg for key, value in values.items()}))
        self.made += calls
        named = [(i.tool.name, {p: values[k] for k, p in i.names.items() if k in values}) for i, values in planned]
        why = thought_call(named, self.language, self.rng)
        self.messages.append(Message("assistant", None, why, tuple(calls)))
        for call, result in zip(calls, results, strict=True):
            content = json.dumps(result, ensure_ascii=False)
            self.messages.append(Message("tool", content, tool_call_id=call.id, name=call.name))
        return results

    def answer(self, planned: Sequence[tuple[ToolInstance, Values]], results: Sequence[Mapping[str, Any]]) -> None:
        """The assistant reports the results."""
        same = {i.base.id for i, _ in planned}
        if len(planned) > 1 and len(same) == 1 and all(set(r) == {"result"} for r in results):
            listed = join_words([str(r["result"]) for r in results], self.language)
            return self.reply(sentence(self.language, "both", self.rng, l=listed))
        if len(same) == 1 and all(r == results[0] for r in results):
            planned, results = planned[:1], results[:1]
        parts = [answer(i.base, v, r, self.language, self.rng) for (i, v), r in zip(planned, results, strict=True)]
        self.reply(("" if self.language == "zh" else " ").join(dict.fromkeys(parts)))

    def run(self, planned: Sequence[tuple[ToolInstance, Values]]) -> list[dict[str, Any]]:
        """Call, then answer."""
        results = self.call(planned)
        self.answer(planned, results)
        return results

    def values(self, instance: ToolInstance, must: Sequence[str] = (), relative: bool = True) -> Values:
        """Values of all required parameters, those in `must`, and some of the others."""
        share = self.rng.choice((0.0, 0.25, 0.5))
        out: Values = {}
        for param in instance.params:
            if param.required or param.key in must or self.rng.random() < share:
                out[param.key] = sample(param.spec, self.context(relative))
        return instance.base.backing.ordered(out) if instance.base.backing is not None else out

    def pick(self, kinds: Sequence[str] = ()) -> ToolInstance:
        """An instance of the set; with a parameter of one of `kinds` where there is one."""
        fitting = [i for i in self.tool_set.instances if any(p.kind in kinds for p in i.params)]
        return self.rng.choice(fitting or list(self.tool_set.instances))


def write(category: str, draft: Draft) -> None:
    """Write a conversation of `category` into `draft`."""
    _WRITERS[category](draft)


def _plain(draft: Draft, kinds: Sequence[str]) -> None:
    instance = draft.pick(kinds)
    must = [p.key for p in instance.params if p.kind in kinds][:1]
    values = draft.values(instance, must)
    draft.say(request(instance, values, draft.language, draft.rng))
    draft.run([(instance, values)])


def _single(draft: Draft) -> None:
    _plain(draft, ())


def _nested(draft: Draft) -> None:
    _plain(draft, NESTED)


def _date(draft: Draft) -> None:
    _plain(draft, ("date",))


def _slot_filling(draft: Draft) -> None:
    rng = draft.rng
    usable = [i for i in draft.tool_set.instances if any(_askable(p) for p in i.params)]
    if not usable:
        return _single(draft)
    instance = rng.choice(usable)
    values = draft.values(instance)
    askable = [p for p in instance.params if _askable(p) and p.key in values]
    missing = rng.sample(askable, 2 if len(askable) >= 2 and rng.random() < 0.2 else 1)
    chinese = draft.language == "zh"
    told = {value.arg for key, value in values.items() if isinstance(value.arg, str)} if len(values) > 1 else set()
    if sum(isinstance(value.arg, str) for value in values.values()) > len(told) and told:
        raise RepetitionError
    nouns = [p.noun_zh if chinese else p.noun for p in missing]
    given = {key: value for key, value in values.items() if key not in {p.key for p in missing}}
    draft.say(request(instance, given, draft.language, rng))
    joined = join_words(nouns, draft.language)
    draft.facts["missing"] = [
        {"name": instance.names[p.key], "noun": noun} for p, noun in zip(missing, nouns, strict=True)
    ]
    draft.reply(
        sentence(draft.language, "ask" if len(missing) == 1 else "ask2", rng, n=joined),
        thought("ask", draft.language, rng, t=instance.tool.name, n=joined),
    )
    texts = [
        values[p.key].text if len(missing) == 1 else phrase(p, values[p.key], draft.language, rng).lstrip(":：， ")
        for p in missing
    ]
    text = ("，" if chinese else ", ").join(texts)
    if len(missing) == 1 and missing[0].kind not in ("objects", "object", "quoted") and rng.random() < 0.8:
        text = sentence(draft.language, "give", rng, t=text, T=capital(text), n=joined)
    draft.say(text)
    draft.run([(instance, values)])


def _askable(param: Param) -> bool:
    return param.required and param.kind != "bool"


def _negative(draft: Draft) -> None:
    rng, language = draft.rng, draft.language
    kind = rng.choices(
        ("removed", "near_miss", "howto", "small_talk", "knowledge", "capabilities"), (34, 26, 10, 10, 13, 7)
    )[0]
    draft.facts["negative"] = kind
    offered = [i.base for i in draft.tool_set.instances]
    head = head_of(rng.choice(offered), language)
    if kind in ("removed", "near_miss"):
        domains = {tool.domain for tool in offered}
        near = kind == "near_miss"
        base = draw_tool(
            draft.split, rng, lambda t: (t.domain in domains) == near and not any(related(t, o) for o in offered)
        )
        base = base or draw_tool(draft.split, rng, lambda t: not any(related(t, o) for o in offered))
        if base is not None:
            wanted = ToolInstance(base, draft.tool_set.instances[0].tool, {p.key: p.key for p in base.params})
            draft.say(request(wanted, draft.values(wanted), language, rng))
            text = sentence(language, "cannot", rng, h=_second_person(head, language))
            return draft.reply(text, thought("none", language, rng))
    if kind == "howto":
        instance = rng.choice(draft.tool_set.instances)
        head = head_of(instance.base, language)
        draft.say(sentence(language, "howto_q", rng, h=head))
        nouns = [p.noun_zh if language == "zh" else p.noun for p in instance.params if p.required]
        text = sentence(
            language,
            "howto_a" if nouns else "howto_a0",
            rng,
            h=_second_person(head, language),
            p=join_words(nouns or ["-"], language),
        )
        return draft.reply(text, thought("talk", language, rng))
    if kind == "capabilities":
        heads = list(dict.fromkeys(_second_person(head_of(b, language), language) for b in offered))[:4]
        draft.say(sentence(language, "what_q", rng))
        return draft.reply(
            sentence(language, "what_a", rng, h=join_words(heads, language)), thought("talk", language, rng)
        )
    table = replies()[language]["small" if kind == "small_talk" else "facts"]
    question, _, reply = rng.choice(table).partition("|")
    draft.say(question)
    return draft.reply(reply, thought("talk", language, rng))


def _second_person(head: str, language: str) -> str:
    if language == "zh":
        return head
    return " ".join({"my": "your", "me": "you", "I": "you"}.get(word, word) for word in head.split(" "))


def _multi_turn(draft: Draft) -> None:
    rng, instances = draft.rng, draft.tool_set.instances
    pairs = [(a, b) for a in instances for b in instances if issues(a.base) and issues(a.base) == consumes(b.base)]
    if pairs and rng.random() < 0.8:
        return _chain(draft, *rng.choice(pairs))
    first = draft.pick()
    values = draft.values(first)
    draft.say(request(first, values, draft.language, rng))
    draft.run([(first, values)])
    second = rng.choice([i for i in instances if i is not first] or [first])
    again = draft.values(second)
    shared = [
        k
        for k in again
        if k in values and second.base.param(k).kind == "pool" and second is not first and again[k].arg != values[k].arg
    ]
    for key in shared[:1]:
        noun = second.base.param(key).noun_zh if draft.language == "zh" else second.base.param(key).noun
        same = f"同一个{noun}" if draft.language == "zh" else f"the same {noun}"
        again[key] = Value(values[key].arg, same, values[key].leaves)
    draft.say(request(second, again, draft.language, rng))
    for key in shared[:1]:
        again[key] = values[key]
    draft.run([(second, again)])


def _chain(draft: Draft, first: ToolInstance, second: ToolInstance) -> None:
    rng, language = draft.rng, draft.language
    values = draft.values(first)
    draft.say(request(first, values, language, rng))
    (result,) = draft.run([(first, values)])
    issued = issued_identifier(first.base, result)
    again = draft.values(second)
    ref = next(p for p in second.params if p.kind == "ref" and p.spec["kind"] == issues(first.base))
    said = {key: value for key, value in again.items() if key != ref.key}
    bridge = rng.choice(
        ("Actually, ", "On second thought, ", "Now ", "Next, ", "Great. Now ", "Hmm, ", "One more thing: ")
        if language == "en"
        else ("还是", "等一下，", "好的，接下来", "另外，", "然后", "对了，")
    )
    core, _ = imperative(second, said, language, rng)
    if second.base.backing is not None:  # descriptions speak of "an order"; here it is the one just made
        thing = str(issues(first.base)).rpartition("/")[2].replace("_", " ")
        core = re.sub(rf"\b(?:an?|the) (?:existing |specific |single )?(?={thing}\b)", "that ", core, count=1)
    draft.say(f"{bridge}{core}{'。' if language == 'zh' else '.'}")
    again[ref.key] = Value(issued, str(issued), {"": {"text": "", "result": issued}})
    draft.run([(second, again)])


def _parallel(draft: Draft) -> None:
    rng, language = draft.rng, draft.language
    if len(draft.tool_set.instances) >= 2 and rng.random() < 0.45:
        pair = rng.sample(draft.tool_set.instances, 2)
        planned = [(i, draft.values(i)) for i in pair]
        cores = [_core(i, v, draft) for i, v in planned]
        link = rng.choice(
            (", and ", " and also ", ", then ", ". Also ", "; and ")
            if language == "en"
            else ("，再", "，然后", "。另外", "，顺便", "，同时")
        )
        text = link.join(cores)
        frame = rng.choice(
            ("{}.", "Please {}.", "I need you to {}.", "{}", "Can you {}?", "I'd like to {}.")
            if language == "en"
            else ("{}。", "请{}。", "帮我{}。", "{}", "麻烦{}。")
        )
        draft.say(capital(frame.format(text)))
        draft.run(planned)
        return
    usable = [
        (i, p)
        for i in draft.tool_set.instances
        if i.base.act in ("get", "search", "compute")
        for p in i.params
        if p.required and p.kind in _VARIED
    ]
    if not usable:
        return _repeat(draft)
    instance, param = rng.choice(usable)
    if param.phrases_en == () or (len(usable) > 2 and rng.random() < 0.3):
        return _repeat(draft, instance)
    values = draft.values(instance)
    several: dict[str, Value] = {}
    for _ in range(20):
        value = sample(param.spec, draft.context())
        if len(several) < rng.choice((2, 2, 3)):
            several.setdefault(str(value.arg), value)
    texts = [value.text for value in several.values()]
    if len(texts) < 2:
        return _repeat(draft, instance)
    joined = Value(None, join_words(texts, language))
    draft.say(request(instance, {**values, param.key: joined}, language, rng))
    draft.run([(instance, {**values, param.key: value}) for value in several.values()])


def _repeat(draft: Draft, instance: ToolInstance | None = None) -> None:
    """The same tool twice with different values."""
    rng, language = draft.rng, draft.language
    instance = instance or draft.pick()
    first = draft.values(instance)
    second = {key: sample(instance.base.param(key).spec, draft.context()) for key in first}
    if all(second[key].arg == first[key].arg for key in first):
        return _single(draft)
    texts = [_core(instance, values, draft) for values in (first, second)]
    layout = rng.choice(
        ("{0}. Then {1}.", "{0}, and {1}.", "{0}; also {1}.", "Two things: {0}, and {1}.", "Please {0} and then {1}.")
        if language == "en"
        else ("{0}，再{1}。", "{0}。另外{1}。", "两件事：{0}；{1}。", "请{0}，然后{1}。")
    )
    draft.say(capital(layout.format(*texts)))
    draft.run([(instance, first), (instance, second)])


def _core(instance: ToolInstance, values: Values, draft: Draft) -> str:
    text, question = imperative(instance, values, draft.language, draft.rng)
    for _ in range(20):
        if not question:
            break
        text, question = imperative(instance, values, draft.language, draft.rng)
    return text


def _follow_up(draft: Draft) -> None:
    rng, language = draft.rng, draft.language
    usable = [(i, p) for i in draft.tool_set.instances for p in i.params if p.required and p.kind in _VARIED]
    usable = [(i, p) for i, p in usable if i.base.act in ("get", "search", "compute")] or usable
    if not usable:
        return _multi_turn(draft)
    instance, param = rng.choice(usable)
    values = draft.values(instance)
    draft.say(request(instance, values, language, rng))
    draft.run([(instance, values)])
    used = [values[param.key].arg]
    for _ in range(rng.choice((1, 1, 1, 2))):
        value = sample(param.spec, draft.context())
        for _ in range(20):
            if value.arg not in used:
                break
            value = sample(param.spec, draft.context())
        else:
            return
        used.append(value.arg)
        values = {**values, param.key: value}
        noun = param.noun_zh if language == "zh" else param.noun
        if param.kind in ("pool", "enum", "person", "company") and param.phrases_en:
            text = sentence(language, "follow", rng, t=value.text)
        else:
            text = sentence(
                language, "follow_attr", rng, t=value.text, n=noun, a=_attribute(param, value, language, rng)
            )
        draft.say(text)
        draft.run([(instance, values)])


def _attribute(param: Param, value: Value, language: str, rng: random.Random) -> str:
    return (
        attribute(param, value, language, rng)
        if not param.phrases_en
        else phrase(param, value, language, rng).lstrip(": ，：")
    )


_WRITERS = {
    "single": _single,
    "negative": _negative,
    "slot_filling": _slot_filling,
    "multi_turn": _multi_turn,
    "nested": _nested,
    "date": _date,
    "parallel": _parallel,
    "follow_up": _follow_up,
}
