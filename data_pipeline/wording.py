"""Puts a plan into a user's words: who speaks, in what mood, from which side, and how cleanly it is typed.

A request is a hand-written sentence of its tool where one fits (`sentences.py`), else a head of the tool with a phrase
for each value; an imperative is wrapped in a frame of the speaker's register ("Could you …?"). A situation may go
before it, thanks after it, and noise over it (`noise.py`).
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from data_pipeline.catalogue import FOLDER, BaseTool, Param
from data_pipeline.noise import NOISY, code_switched, noisy
from data_pipeline.sentences import article_before, with_preposition, written
from data_pipeline.slots import Value, join_words
from data_pipeline.surface import ToolInstance
from data_pipeline.tables import read_table
from data_pipeline.templates import fitting

_SLOT = re.compile(r"\{(\w+)\}")
Values = Mapping[str, Value]
_TO_ME = {"en": re.compile(r"\bme\b"), "zh": re.compile("我|^推荐")}
"""Imperatives that already name the speaker do not go with frames in which the speaker acts."""
_BY_ME = {
    "en": re.compile(r"\b(?:I need to|I'd like to|I want to|I'm trying to|I have to|we need to|let's)\b|\bme\b", re.I),
    "zh": re.compile("我|给|咱|^想"),
}
_CLOSED: Mapping[str, tuple[str, ...]] = {"en": (".", "?", "!"), "zh": ("。", "？", "！", "~")}
_CODE = re.compile(r"[\w~/.]*(?:[-_/@.:]+\w|\d)")
_SENTENCE = 0.5
"""Share of hand-written sentences where there are both sentences and imperatives."""
_SITUATION, _OPENER, _THANKS = 0.15, 0.22, 0.14
_REMARKED = 0.65
"""Share of small talk with a word before it."""
_MIXED = 0.03
"""Share of Chinese turns with an English word in them."""


@dataclass(frozen=True, slots=True)
class Persona:
    """Who speaks: a register of `frames.yaml`, and the share of turns that are not typed cleanly."""

    register: str
    noise: float = NOISY


def draw_persona(language: str, rng: random.Random) -> Persona:
    """A speaker; most are plain and type cleanly."""
    personas, weights = _personas(language)
    return rng.choices(personas, cum_weights=weights)[0]


@lru_cache(maxsize=2)
def _personas(language: str) -> tuple[Sequence[Persona], Sequence[int]]:
    """All speakers, and their weights added up."""
    registers = frames()[language]["registers"]
    noise = {"rushed": 3 * NOISY, "formal": 0.0}
    personas = [Persona(name, noise.get(name, NOISY)) for name in registers]
    return personas, list(accumulate(register["weight"] for register in registers.values()))


_CASUAL = {
    "en": re.compile(r"\b(?:oh|oops|hmm|hey|ok|okay|to be honest|you know what|by the way|pity|no idea)\b", re.I),
    "zh": re.compile("[哦嗯哎呗啦呀]|来着|算了|说实话"),
}
_COURTEOUS = {
    "en": re.compile(r"please|thank|sorry|would you|could you", re.I),
    "zh": re.compile("请|谢|麻烦|不好意思"),
}
_UNLIKE = {"formal": _CASUAL, "curt": _COURTEOUS, "rushed": _COURTEOUS}
"""Register → words that its speakers do not use."""


def suiting(persona: Persona, options: Sequence[str], language: str) -> Sequence[str]:
    """Those of `options` that the speaker would say; all of them where there is none."""
    unlike = _UNLIKE.get(persona.register)
    return [o for o in options if not unlike[language].search(o)] or options if unlike is not None else options


@lru_cache(maxsize=1)
def frames() -> Any:
    """Frames, by language and register, and situations by domain."""
    return read_table(FOLDER / "frames.yaml")


def request(
    instance: ToolInstance,
    values: Values,
    language: str,
    rng: random.Random,
    bare: bool = False,
    persona: Persona | None = None,
) -> str:
    """One request for `instance` that says exactly `values`.

    Args:
        instance: the tool that is meant.
        values: base parameter → value the user gives.
        language: en or zh.
        rng: source of choices.
        bare: no situation before or thanks after it.
        persona: who speaks; drawn anew where none is given.
    """
    persona = persona or draw_persona(language, rng)
    spans = spoken_spans(values)
    text = _clean(instance, values, language, rng, persona)
    if not bare:
        text = _surrounded(text, instance.base, spans, language, rng, persona)
    if language == "zh" and rng.random() < _MIXED:
        text = code_switched(text, spans, rng)
    return noisy(text, spans, language, rng, persona.noise)


def remark(text: str, language: str, rng: random.Random) -> str:
    """Small talk and questions to which no tool belongs, as somebody drops them: with a word before it, or noise."""
    if rng.random() < _REMARKED and not _GREETING.match(text):
        text = _opened(str(rng.choice(frames()[language]["remark"])), text, (), language)
    return noisy(text, (), language, rng, 2 * NOISY)


def spoken_spans(values: Values) -> list[str]:
    """The words that carry values, which noise must not touch."""
    out = []
    for value in values.values():
        out.append(value.text)
        out += [leaf if isinstance(leaf, str) else str(leaf["text"]) for leaf in value.leaves.values()]
    return [words for words in out if words]


def _clean(instance: ToolInstance, values: Values, language: str, rng: random.Random, persona: Persona) -> str:
    whole = _sentence(instance, values, language, rng) if rng.random() < _SENTENCE else None
    if whole is not None:
        return closed(capital(whole) if language == "en" else whole, language)
    listed = len(values) > 1 and not any(instance.base.param(key).phrases_en for key in values)
    if listed and instance.base.backing is None and rng.random() < 0.25:
        return given_first(instance, values, language, rng)
    return _framed(instance, values, language, rng, persona)


def _framed(instance: ToolInstance, values: Values, language: str, rng: random.Random, persona: Persona) -> str:
    core, question = imperative(instance, values, language, rng)
    if question:
        register = frames()[language]["registers"][persona.register]
        frame = str(rng.choice(register.get("ask") or frames()[language]["ask"]))
        return frame.format(Q=capital(core), q=core)
    options = _orders(language, persona.register, to_me=_TO_ME[language].search(core) is not None)
    if language == "zh" and "，" in core:  # what follows the verb would stand after the last clause: …，3个人吧
        options = [frame for frame in options if frame.rstrip("。").endswith("{v}")] or options
    return rng.choice(options).format(V=capital(core), v=core)


@lru_cache(maxsize=32)
def _orders(language: str, register: str, to_me: bool) -> Sequence[str]:
    """Frames of imperatives; `to_me`: of those that name the speaker already ("help me tell me")."""
    options = frames()[language]["registers"][register]["do"]
    return [frame for frame in options if not _BY_ME[language].search(frame)] or ["{V}"] if to_me else options


def _surrounded(
    text: str, tool: BaseTool, spans: Sequence[str], language: str, rng: random.Random, persona: Persona
) -> str:
    """With a situation before it and thanks after it, now and then."""
    register = frames()[language]["registers"][persona.register]
    situations = frames()[language]["situations"]
    first, *more = _CLAUSE_END.split(text[:-1], maxsplit=1)
    # A first clause without any value is a situation already: 要出差，后天找人照看柯基.
    several = bool(more) and (
        not any(words in first for words in spans) or first.startswith(("刚", "跟", "想", "打算"))
    )
    gap = " " if language == "en" else ""
    if not several and rng.random() < _SITUATION * register.get("talk", 1):
        options = situations.get(tool.domain) if tool.backing is None else None
        text = f"{rng.choice(options or situations['any'])}{gap}{capital(text) if language == 'en' else text}"
    elif rng.random() < _OPENER * register.get("talk", 1) and register.get("open") and not _GREETING.match(text):
        text = _opened(str(rng.choice(register["open"])), text, spans, language)
    if rng.random() < _THANKS * register.get("talk", 1) and not _POLITE.search(text):
        text = closed(text, language) + gap + str(rng.choice(register.get("close") or frames()[language]["close"]))
    return text


_CLAUSE_END = re.compile(r"[,，。？！]|[.?!] ")
_POLITE = re.compile("thank|谢|please|拜托|麻烦|辛苦|劳", re.I)
_GREETING = re.compile(
    r"(?:hey|hi|hello|ok|okay|so|alright|quick|in a|pls|right|do me)\b|[哎嘿诶来快急赶麻你您]|那个|话说", re.I
)


def _opened(opener: str, text: str, spans: Sequence[str], language: str) -> str:
    if language == "zh" or opener[-1] in ".!":
        return f"{opener}{' ' if language == 'en' else ''}{text}"
    keep = text.startswith(tuple(map(capital, spans))) or re.match(r"I\b|[A-Z]{2}", text)
    return f"{opener} {text if keep else text[0].lower() + text[1:]}"


def _sentence(instance: ToolInstance, values: Values, language: str, rng: random.Random) -> str | None:
    found = _written(instance, values, language, rng, whole=True)
    return None if found is None else found[0]


def _written(
    instance: ToolInstance, values: Values, language: str, rng: random.Random, whole: bool
) -> tuple[str, bool] | None:
    templates = fitting(instance.base, language, frozenset(values), whole)
    if not templates:
        return None

    def own_phrase(key: str) -> str:
        return phrase(instance.base.param(key), values[key], language, rng).lstrip(":：， ")

    def rest(before: str, left: Sequence[str]) -> str:
        if (backing := instance.base.backing) is not None:
            return backing.rest(before, [(instance.base.param(key), values[key]) for key in left], language, rng)
        build = _chinese if language == "zh" else _english
        return build(before, [instance.base.param(key) for key in left], values, rng)

    found = written(templates, values, rng, own_phrase, rest)
    if found is None or language == "en":
        return found
    return _POINTED.sub(r"\1", found[0]) if "《" in found[0] else found[0], found[1]


_POINTED = re.compile("《((?:那|这|第|同一|搜到|评分最高)[^》]*)》")
"""A title that is only pointed at ("that song") stands without marks."""


def closed(text: str, language: str) -> str:
    """With a mark at its end."""
    return text if text.endswith(_CLOSED[language]) else text + ("。" if language == "zh" else ".")


def given_first(instance: ToolInstance, values: Values, language: str, rng: random.Random) -> str:
    """The facts first, then the question: "Given a mass of 2 kg and …, compute the force." """
    heads = instance.base.heads_zh if language == "zh" else instance.base.heads_en
    head = rng.choice([h for h in heads if "{" not in h])
    params = [instance.base.param(key) for key in values]
    if language == "zh":
        copula = rng.choice(("为", "是", ""))
        parts = [_attribute_zh(p, values[p.key], copula) for p in params]
        layouts = frames()["zh"]["given"]
        text = str(rng.choice(layouts)).format(a="，".join(parts), h=head)
    else:
        parts = [attribute(p, values[p.key], language, rng) for p in params]
        layouts = frames()["en"]["given"]
        text = capital(str(rng.choice(layouts)).format(a=join_words(parts, "en"), h=head, H=capital(head)))
    return closed(text, language)


def capital(text: str) -> str:
    """First letter in upper case, unless the first word is a code, a file or a host."""
    first = text[:1].upper()
    return text if text.startswith(first) or _CODE.match(text) else first + text[1:]


def imperative(instance: ToolInstance, values: Values, language: str, rng: random.Random) -> tuple[str, bool]:
    """The request without frame, and whether it is a question."""
    found = _written(instance, values, language, rng, whole=False)
    if found is not None:
        return found[0], False
    heads = instance.base.heads_zh if language == "zh" else instance.base.heads_en
    lookup = instance.base.id.startswith("lookup_")
    fitting = [h for h in heads if set(_SLOT.findall(h)) <= values.keys()]
    inline = [h for h in fitting if "{" in h]
    head = rng.choice(inline if inline and (lookup or rng.random() < 0.6) else fitting)
    used = set(_SLOT.findall(head))
    text = _SLOT.sub(lambda m: values[m[1]].text, head)
    question = text[-1] in "?？"
    text = text.rstrip("?？")
    params = [instance.base.param(key) for key in values if key not in used]
    build = _chinese if language == "zh" else _english
    return build(text, params, values, rng), question


def phrase(param: Param, value: Value, language: str, rng: random.Random) -> str:
    """How `value` enters a request on its own."""
    options = param.phrases_zh if language == "zh" else param.phrases_en
    if not options:
        return attribute(param, value, language, rng)
    if param.kind == "date" and language == "en":
        return _dated(options, value.text, rng)
    chosen = rng.choice(options)
    if language == "en":
        chosen = re.sub(r"\ba(?= \{)", article_before(value.text), chosen)
    return chosen.format(value.text)


def _dated(options: Sequence[str], text: str, rng: random.Random) -> str:
    """English drops "on" before relative days and has no "for in 3 days"."""
    chosen = rng.choice(options)
    head, _, tail = chosen.rpartition("{}")
    if tail or not head:
        return chosen.format(text)
    *before, preposition = head.split()
    said = (
        with_preposition(text, preposition) if preposition in ("on", "for", "by", "from") else f"{preposition} {text}"
    )
    return " ".join([*before, said])


def attribute(param: Param, value: Value, language: str, rng: random.Random) -> str:
    """ "a mass of 5 kg" / 质量为5千克."""
    if language == "zh":
        return _attribute_zh(param, value, rng.choice(("为", "是", "")))
    if re.search(r"\d$|coefficient|^(?:number of|first|second)\b", param.noun):
        return f"{param.noun} = {value.text}"
    return f"{article(param.noun)}{param.noun} of {value.text}"


def _attribute_zh(param: Param, value: Value, copula: str) -> str:
    return f"{param.noun_zh}{'=' if param.noun_zh[-1].isascii() else copula}{value.text}"


def article(noun: str) -> str:
    """ "a " or "an "; nothing before a plural."""
    if (head := noun.split(" of ")[0]).endswith("s") and not head.endswith(("ss", "radius", "status")):
        return ""
    return "an " if noun[0] in "aeiou" and not noun.startswith(("unit", "use", "usa")) else "a "


def _english(head: str, params: Sequence[Param], values: Values, rng: random.Random) -> str:
    attributes = [p for p in params if not p.phrases_en]
    parts = [phrase(p, values[p.key], "en", rng) for p in params if p.phrases_en]
    rng.shuffle(parts)
    lists = [p for p in parts if p.startswith(":")]
    text = " ".join([head, *(p for p in parts if not p.startswith(":"))])
    if attributes:
        text += _attributes_en(attributes, values, rng)
    for i, item in enumerate(lists):
        text += item if i == 0 else f", {item[1:].strip()}"
    return text


def _is(noun: str) -> str:
    return "are" if noun.endswith("costs") else "is"


def _attributes_en(params: Sequence[Param], values: Values, rng: random.Random) -> str:
    order = list(params)
    if rng.random() < 0.3:
        rng.shuffle(order)
    full = join_words([attribute(p, values[p.key], "en", rng) for p in order], "en")
    if any(p.noun.startswith("number") for p in order):
        plain = full
    else:
        plain = join_words([f"{p.noun} {values[p.key].text}" for p in order], "en")
    are = join_words([f"the {p.noun} {_is(p.noun)} {values[p.key].text}" for p in order], "en")
    pairs = ", ".join(f"{p.noun} = {values[p.key].text}" for p in order)
    layout = str(rng.choice(frames()["en"]["attributes"]))
    return layout.format(full=full, plain=plain, are=are, pairs=pairs)


def _chinese(head: str, params: Sequence[Param], values: Values, rng: random.Random) -> str:
    copula = rng.choice(("为", "是", ""))
    attributes = [_attribute_zh(p, values[p.key], copula) for p in params if not p.phrases_zh]
    parts = [phrase(p, values[p.key], "zh", rng) for p in params if p.phrases_zh]
    rng.shuffle(parts)
    lists = [p for p in parts if p.startswith("：")]
    text = "，".join([head, *(p.lstrip("，") for p in parts if not p.startswith("："))])
    if attributes:
        joined = rng.choice(("，", "、")).join(attributes)
        text = str(rng.choice(frames()["zh"]["attributes"])).format(t=text, a=joined)
    for i, item in enumerate(lists):
        text += item if i == 0 else f"，{item[1:]}"
    return text
