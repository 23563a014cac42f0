"""Conversations without any call: talk, missing tools, near misses, questions, mentions, and what is known already."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_pipeline.catalogue import BaseTool
from data_pipeline.dialogues.draft import Draft, Values
from data_pipeline.replies import answer, head_of, replies, third_person
from data_pipeline.slots import join_words
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import draw_tool, related, subject_of
from data_pipeline.wording import remark

KINDS = {"removed": 44, "near_miss": 20, "howto": 9, "hypothetical": 9, "in_context": 7, "small_talk": 11}
"""Kinds of negatives and their weights: what users ask of tools that are not there is the commonest, and the hardest to
learn, because such a request is worded as one before a call."""
_MAX_HEADS = 4
_THANKS = re.compile("thank|谢", re.I)


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that no offered tool serves."""

    base: BaseTool
    text: str


def write_negative(draft: Draft) -> None:
    """One of `KINDS`; where the tool set allows none of the kind drawn, the next one that it does."""
    kinds = list(KINDS)
    drawn = draft.rng.choices(kinds, list(KINDS.values()))[0]
    order = {"near_miss": ("near_miss", "removed", "howto"), "in_context": ("in_context", "hypothetical")}
    for kind in order.get(drawn, (drawn, "howto")):
        if _WRITERS[kind](draft):
            draft.facts["negative"] = draft.facts["kind"] = kind
            break
    kind = draft.facts["negative"]
    if kind != "small_talk" and draft.rng.random() < 0.15:
        draft.say(draft.words("thanks" if kind in ("removed", "near_miss") else "thanks_told"))
        thanked = _THANKS.search(str(draft.messages[-1].content)) is not None
        draft.talk(draft.sentence("welcome" if thanked else "noted"), "polite")


def refuse(draft: Draft, wish: Wish, near: ToolInstance | None = None) -> None:
    """The assistant cannot serve `wish`; it says what it can do instead, nearest to it with `near`."""
    draft.say(wish.text)
    wanted = head_of(wish.base, draft.language)
    instance = near or _most_alike(wanted, draft)
    can = draft.head(instance.base)
    nearest = head_of(instance.base, draft.language)
    known = {"w": third_person(wanted, draft.language), "h": third_person(nearest, draft.language)}
    kind = "cannot_near" if near is not None else draft.rng.choice(("cannot", "cannot_wanted"))
    text = draft.sentence(kind, w=draft.head(wish.base), h=can)
    draft.talk(text, "none" if near is None else "near", t=instance.tool.name, **known)


def _most_alike(wanted: str, draft: Draft) -> ToolInstance:
    """The offered tool whose purpose has the most words in common with `wanted`; any of those that are equal."""
    words = set(wanted if draft.chinese else wanted.split())
    heads = [head_of(i.base, draft.language) for i in draft.tool_set.instances]
    alike = [len(words & set(head if draft.chinese else head.split())) for head in heads]
    return draft.rng.choice([i for i, n in zip(draft.tool_set.instances, alike, strict=True) if n == max(alike)])


def _removed(draft: Draft) -> bool:
    domains = {i.base.domain for i in draft.tool_set.instances}
    wish = _wish(draft, lambda tool: tool.domain not in domains)
    if wish is None:
        return False
    refuse(draft, wish)
    return True


def _near_miss(draft: Draft) -> bool:
    """A sibling of an offered tool is wanted: of the same things, else one of its domain that is near to it."""
    siblings = [i for i in draft.tool_set.instances if i.base.group != i.base.id]
    if siblings and draft.rng.random() < 0.6:
        near = draft.rng.choice(siblings)
        group = [tool for tool in draft.split if tool.group == near.base.group]
        wish = _wish(draft, lambda tool: tool.group == near.base.group, group)
        if wish is not None:
            refuse(draft, wish, near)
            return True
    near = draft.pick()
    domain = [tool for tool in draft.split if tool.domain == near.base.domain]
    wish = _wish(draft, lambda tool: tool.domain == near.base.domain and closeness(tool, near.base) > 0, domain)
    if wish is None:
        return False
    refuse(draft, wish, max(draft.tool_set.instances, key=lambda i: closeness(wish.base, i.base)))
    return True


def closeness(first: BaseTool, second: BaseTool) -> int:
    """How much two tools of one catalogue have in common: what they are about, what they take, what they do."""
    if first.domain != second.domain:
        return 0
    kinds = [{param.spec.get("pool") or param.spec.get("kind") for param in t.params} - {None} for t in (first, second)]
    return 2 * len(subject_of(first) & subject_of(second)) + len(kinds[0] & kinds[1]) + (first.act == second.act)


def _wish(draft: Draft, fits: Callable[[BaseTool], bool], among: Sequence[BaseTool] | None = None) -> Wish | None:
    offered = [i.base for i in draft.tool_set.instances]
    base = draw_tool(draft.split, draft.rng, lambda t: fits(t) and not any(related(t, o) for o in offered), among)
    if base is None:
        return None
    wanted = ToolInstance(base, draft.tool_set.instances[0].tool, {p.key: p.key for p in base.params})
    return Wish(base, draft.request(wanted, draft.values(wanted)))


def _howto(draft: Draft) -> bool:
    instance = draft.pick()
    return _answer_question(draft, instance, "howto_q", "howto_a", "howto")


def _hypothetical(draft: Draft) -> bool:
    instance = draft.pick()
    if draft.rng.random() < 0.65:
        return _answer_question(draft, instance, "hypo_q", "hypo_a", "hypothetical")
    head = _mentioned(instance.base, draft.language)
    draft.say(draft.words("past", h=head))
    known = third_person(head_of(instance.base, draft.language), draft.language)
    draft.talk(draft.sentence("past_a", h=draft.head(instance.base)), "past", t=instance.tool.name, h=known)
    return True


def _answer_question(draft: Draft, instance: ToolInstance, asked: str, answered: str, why: str) -> bool:
    language = draft.language
    draft.say(draft.words(asked, h=_mentioned(instance.base, language)))
    required = [p for p in instance.params if p.required]
    nouns = join_words([draft.noun(p) for p in required] or ["-"], language)
    text = draft.sentence(answered if required else f"{answered}0", h=draft.head(instance.base), p=nouns)
    known = third_person(head_of(instance.base, language), language)
    names = ("、" if draft.chinese else ", ").join(instance.names[p.key] for p in required) or "-"
    draft.talk(text, why, t=instance.tool.name, h=known, p=names)
    return True


def _mentioned(base: BaseTool, language: str) -> str:
    """What `base` does, where it is talked about and not ordered: 查一下天气 → 查天气."""
    return head_of(base, language).replace("帮忙", "")


def _in_context(draft: Draft) -> bool:
    """The user quotes a fact and asks for it, though a tool could look it up."""
    usable = [
        i
        for i in draft.tool_set.instances
        if i.base.say is not None and len(i.base.out.keys() - {"unit"}) == 1 and _fact_noun(i, draft)
    ]
    if not usable:
        return False
    instance = draft.rng.choice(usable)
    values: Values = {k: v for k, v in draft.values(instance).items() if instance.base.param(k).required}
    result = draft.world.execute(instance.base, {key: value.arg for key, value in values.items()})
    said = answer(instance.base, values, result, draft.language, draft.rng)
    value = str(next(iter(result.values())))
    known = said[said.rindex(value) :].rstrip(".。")
    noun = _fact_noun(instance, draft)
    draft.say(draft.words("context_q", s=said, n=noun))
    draft.talk(draft.sentence("context_a", n=noun, v=known), "context", t=instance.tool.name, n=noun, v=known)
    return True


def _fact_noun(instance: ToolInstance, draft: Draft) -> str:
    """What the only field of the result is called; empty if nothing says it."""
    noun = instance.base.noun[draft.chinese]
    if instance.base.id.startswith("lookup_"):
        return noun.split("的", 1)[1] if draft.chinese else noun.rsplit(" of a", 1)[0]
    return noun if "result" in instance.base.out else ""


def _small_talk(draft: Draft) -> bool:
    topic = draft.rng.choices(("small", "facts", "able"), (45, 35, 20))[0]
    if topic == "able":
        heads = list(dict.fromkeys(draft.head(i.base) for i in draft.tool_set.instances))[:_MAX_HEADS]
        draft.say(remark(draft.words("what_q"), draft.language, draft.rng))
        draft.talk(draft.sentence("what_a", h=join_words(heads, draft.language)), "able")
        return True
    question, _, reply = draft.rng.choice(replies()[draft.language][topic]).partition("|")
    draft.say(remark(question, draft.language, draft.rng))
    draft.talk(reply, topic)
    return True


_WRITERS = {
    "removed": _removed,
    "near_miss": _near_miss,
    "howto": _howto,
    "hypothetical": _hypothetical,
    "in_context": _in_context,
    "small_talk": _small_talk,
}
