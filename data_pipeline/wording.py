"""Puts a plan into a user's words: heads, parameter phrases and frames are combined anew each time."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from data_pipeline.catalogue import FOLDER, Param
from data_pipeline.slots import Value, join_words
from data_pipeline.surface import ToolInstance

_SLOT = re.compile(r"\{(\w+)\}")
Values = Mapping[str, Value]
_TO_ME = {"en": re.compile(r"\bme\b"), "zh": re.compile("告诉我|提醒我")}
"""Heads that already name the speaker do not go with frames in which the speaker acts."""
_BY_ME = {
    "en": re.compile(
        r"^(I (?!need you|want you|would like you|was hoping)|I'd|I'm|We|My|For a|Let|Time|Help|Can you help|Would you)"
    ),
    "zh": re.compile("我|顺便"),
}


@lru_cache(maxsize=1)
def frames() -> Any:
    """Frames of both languages."""
    return yaml.safe_load((FOLDER / "frames.yaml").read_text(encoding="utf-8"))


def request(instance: ToolInstance, values: Values, language: str, rng: random.Random, bare: bool = False) -> str:
    """One request for `instance` that says exactly `values`.

    Args:
        instance: the tool that is meant.
        values: base parameter → value the user gives.
        language: en or zh.
        rng: source of choices.
        bare: no situation before or thanks after it.
    """
    if all(not instance.base.param(key).phrases_en for key in values) and len(values) > 1 and rng.random() < 0.25:
        return given_first(instance, values, language, rng)
    core, question = imperative(instance, values, language, rng)
    table = frames()[language]
    if question:
        text = rng.choice(table["q"]).format(Q=capital(core), q=core)
    else:
        spoken = _TO_ME[language].search(core)
        options = [frame for frame in table["v"] if not (spoken and _BY_ME[language].search(frame))]
        text = rng.choice(options).format(V=capital(core), v=core)
    if not bare and rng.random() < 0.16:
        text = rng.choice(table["before"]) + capital(text)
    if not bare and rng.random() < 0.12 and not re.search("thank|谢|please|拜托|麻烦", text, re.I):
        text = (
            text + ("" if text[-1] in ".?!。？！" else "." if language == "en" else "。") + rng.choice(table["after"])
        )
    if language == "en" and rng.random() < 0.07:
        text = text[0].lower() + text[1:] if not text.startswith("I") else text
    return str(text)


def given_first(instance: ToolInstance, values: Values, language: str, rng: random.Random) -> str:
    """The facts first, then the question: "Given a mass of 2 kg and …, compute the force." """
    heads = instance.base.heads_zh if language == "zh" else instance.base.heads_en
    head = rng.choice([h for h in heads if "{" not in h])
    parts = [attribute(instance.base.param(key), value, language, rng) for key, value in values.items()]
    if language == "zh":
        layout = rng.choice(("已知{a}，{h}", "{a}，{h}", "如果{a}，请{h}", "假设{a}。{h}", "有一道题：{a}，{h}"))
        text = layout.format(a="，".join(parts), h=head).replace("请" + head, head if head[-1] == "？" else "请" + head)
        return text if text[-1] == "？" else text + "。"
    layout = rng.choice(
        (
            "given {a}, {h}",
            "with {a}, {h}",
            "suppose we have {a}. {H}",
            "I have {a}. {H}",
            "assuming {a}, {h}",
            "we are given {a}. {H}",
            "here are the numbers: {a}. {H}",
        )
    )
    text = capital(layout.format(a=join_words(parts, "en"), h=head, H=capital(head)))
    return text if text[-1] == "?" else text + "."


def capital(text: str) -> str:
    """First letter in upper case."""
    return text[:1].upper() + text[1:]


def imperative(instance: ToolInstance, values: Values, language: str, rng: random.Random) -> tuple[str, bool]:
    """The request without frame, and whether it is a question."""
    heads = instance.base.heads_zh if language == "zh" else instance.base.heads_en
    lookup = instance.base.id.startswith("lookup_")
    fitting = [h for h in heads if set(_SLOT.findall(h)) <= values.keys()]
    inline = [h for h in fitting if "{" in h]
    head = rng.choice(inline if inline and (lookup or rng.random() < 0.6) else fitting)
    used = set(_SLOT.findall(head))
    text = _SLOT.sub(lambda m: values[m[1]].text, head)
    question = text[-1] in "?？"
    text = text.rstrip("?？")
    rest = {key: value for key, value in values.items() if key not in used}
    params = [instance.base.param(key) for key in rest]
    build = _chinese if language == "zh" else _english
    return build(text, params, rest, rng), question


def phrase(param: Param, value: Value, language: str, rng: random.Random) -> str:
    """How `value` enters a request on its own."""
    options = param.phrases_zh if language == "zh" else param.phrases_en
    if not options:
        return attribute(param, value, language, rng)
    if param.kind == "date" and language == "en":
        return _dated(options, value.text, rng)
    return rng.choice(options).format(value.text)


def _dated(options: Sequence[str], text: str, rng: random.Random) -> str:
    """English drops "on" before relative days and has no "for in 3 days"."""
    if text.startswith("in "):
        options = [o for o in options if o.split(" ")[0] in ("on", "starting", "beginning", "leaving", "due")] or ["{}"]
    chosen = rng.choice(options)
    relative = not re.match(r"[A-Z]|the \d|the last|the first|\d{4}|\d+ [A-Z]", text)
    return text if relative and chosen == "on {}" else chosen.format(text)


def attribute(param: Param, value: Value, language: str, rng: random.Random) -> str:
    """ "a mass of 5 kg" / 质量为5千克."""
    if language == "zh":
        return (
            rng.choice(("{}为{}", "{}是{}", "{}{}")).format(param.noun_zh, value.text)
            if not param.noun_zh[-1].isascii()
            else f"{param.noun_zh}={value.text}"
        )
    if re.search(r"\d$|coefficient", param.noun):
        return f"{param.noun} = {value.text}"
    return f"{article(param.noun)}{param.noun} of {value.text}"


def article(noun: str) -> str:
    """ "a " or "an "; nothing before a plural."""
    if (head := noun.split(" of ")[0]).endswith("s") and not head.endswith(("ss", "radius", "status")):
        return ""
    if noun.startswith(("first", "second", "number of", "annual")) and not noun.startswith("annual"):
        return "the "
    return "an " if noun[0] in "aeiou" and not noun.startswith(("unit", "use")) else "a "


def _english(head: str, params: Sequence[Param], values: Values, rng: random.Random) -> str:
    attributes = [p for p in params if not p.phrases_en]
    others = [p for p in params if p.phrases_en]
    parts = [phrase(p, values[p.key], "en", rng) for p in others]
    rng.shuffle(parts)
    lists = [p for p in parts if p.startswith(":")]
    parts = [p for p in parts if not p.startswith(":")]
    text = " ".join([head, *parts])
    if attributes:
        text += _attributes_en(attributes, values, rng)
    for i, item in enumerate(lists):
        text += item if i == 0 else f", {item[1:].strip()}"
    return text


def _attributes_en(params: Sequence[Param], values: Values, rng: random.Random) -> str:
    order = list(params)
    if rng.random() < 0.3:
        rng.shuffle(order)
    full = join_words([attribute(p, values[p.key], "en", rng) for p in order], "en")
    plain = (
        full
        if any(p.noun.startswith("number") for p in order)
        else join_words([f"{p.noun} {values[p.key].text}" for p in order], "en")
    )
    are = join_words([f"the {p.noun} is {values[p.key].text}" for p in order], "en")
    pairs = ", ".join(f"{p.noun} = {values[p.key].text}" for p in order)
    return rng.choice(
        (
            f" with {full}",
            f" with {full}",
            f" given {full}",
            f" for {plain}",
            f" if {are}",
            f", where {are}",
            f" using {full}",
            f" ({pairs})",
            f": {pairs}",
            f" with {plain}",
        )
    )


def _chinese(head: str, params: Sequence[Param], values: Values, rng: random.Random) -> str:
    attributes = [attribute(p, values[p.key], "zh", rng) for p in params if not p.phrases_zh]
    parts = [phrase(p, values[p.key], "zh", rng) for p in params if p.phrases_zh]
    rng.shuffle(parts)
    lists = [p for p in parts if p.startswith("：")]
    parts = [p.lstrip("，") for p in parts if not p.startswith("：")]
    text = "，".join([head, *parts])
    if attributes:
        joined = rng.choice(("，", "、")).join(attributes)
        text = rng.choice(
            (f"{text}，{joined}", f"{text}，已知{joined}", f"{text}，其中{joined}", f"{text}（{joined}）")
        )
    for i, item in enumerate(lists):
        text += item if i == 0 else f"，{item[1:]}"
    return text
