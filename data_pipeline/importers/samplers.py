"""Draws values for imported parameters and says how a user would write them."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import rstr

from data_pipeline.dates import explicit_date, relative_date
from data_pipeline.slots import Context, Leaf, Spec, Value, join_words, number_text, sample

Draw = Callable[[Spec, Context], Value]
_MARKS = {"zh": ("“{}”", "「{}」"), "en": ('"{}"', "'{}'", '"{}"')}


def draw_choice(spec: Spec, context: Context) -> Value:
    """A member of `values`: ((value, English words, Chinese words), …)."""
    value, english, chinese = context.rng.choice(spec["values"])
    return _one(value, chinese if context.language == "zh" else english)


def _one(value: Any, text: str) -> Value:
    said = "true" if value is True else "false" if value is False else str(value)
    leaf: Leaf = text if isinstance(value, str) and value == text else {"text": text, "means": said}
    return Value(value, text, {"": leaf})


def draw_flag(spec: Spec, context: Context) -> Value:
    """A switch, mostly turned away from its default, in words that name it."""
    value = not spec["default"] if context.rng.random() < 0.85 else bool(spec["default"])
    chinese = context.language == "zh"
    text = context.rng.choice(_FLAGS[spec["style"]][chinese][value]).format(
        spec["noun_zh"] if chinese else spec["noun"]
    )
    return _one(value, text)


_FLAGS: Mapping[str, tuple[tuple[Sequence[str], Sequence[str]], ...]] = {
    "include": (
        (("without {}", "leaving out {}", "excluding {}"), ("including {}", "with {} included", "together with {}")),
        (("不要{}", "不含{}"), ("包含{}", "要带上{}")),
    ),
    "is": ((("that is not {}", "as not {}"), ("marked as {}", "as {}")), (("不要{}", "非{}"), ("设为{}", "要{}"))),
    "only": ((("not {}",), ("{}",)), (("不限{}",), ("仅限{}",))),
    "switch": (
        (
            ("with {} off", "with {} turned off", "with {} disabled"),
            ("with {} on", "with {} turned on", "with {} enabled"),
        ),
        (("关闭{}", "{}关掉"), ("开启{}", "{}打开")),
    ),
}
"""Style → (English, Chinese), each → (words for false, words for true)."""


def draw_number(spec: Spec, context: Context) -> Value:
    """A number between `lo` and `hi`, a multiple of `step`."""
    rng, digits = context.rng, spec["digits"]
    if digits == 0:
        step = spec.get("step") or _round_step(spec["lo"], spec["hi"])
        first = -(-spec["lo"] // step) * step
        number: float = int(rng.randrange(int(first), int(spec["hi"]) + 1, int(step)))
    else:
        number = round(rng.uniform(spec["lo"], spec["hi"]), digits)
        number = min(max(number, spec["lo"]), spec["hi"])
        number = int(number) if float(number).is_integer() else number
    text = str(number) if spec.get("plain") or number < 0 else number_text(number, context, plain=number > 10)
    return Value(number, text, {"": text})


def _round_step(lo: float, hi: float) -> int:
    return 1 if hi - lo <= 200 else 5 if hi - lo <= 1000 else 50 if hi - lo <= 20000 else 1000


def draw_pattern(spec: Spec, context: Context) -> Value:
    """A string that a regular expression describes; the shortest of a few."""
    text = matching(spec["pattern"], context.rng)
    return Value(text, text, {"": text})


def matching(pattern: str, rng: random.Random) -> str:
    """A readable string that fits `pattern`."""
    source = rstr.Rstr(rng)
    return min((str(source.xeger(pattern)) for _ in range(4)), key=lambda t: (not t.isprintable(), " " in t, len(t)))


def draw_url(spec: Spec, context: Context) -> Value:
    """An address under a reserved example domain."""
    rng = context.rng
    host = rng.choice(("example.com", "example.org", "www.example.com", "blog.example.org", "shop.example.net"))
    tail = rng.choice(
        ("", "/about", "/news", "/docs/start", "/articles/42", "/products", "/team", "/2024/report", "/faq")
    )
    text = f"https://{host}{tail}"
    return Value(text, text, {"": text})


def draw_date(spec: Spec, context: Context) -> Value:
    """A day in the format `layout` (strftime); relative where the date of today is known."""
    value = sample({"t": "date", "past": spec.get("past", False)}, context)
    day, words = date.fromisoformat(value.arg), value.text
    if spec["layout"] != "%Y-%m-%d":
        value = _one(day.strftime(spec["layout"]), words)
    if after := re.fullmatch(r"in (\w+ (?:days?|weeks?))", words):  # nobody says "until in 3 days"
        words = f"{after[1]} from now"
    leaf = words if isinstance(value.leaves[""], str) else {**value.leaves[""], "text": words}
    return Value(value.arg, words, {"": leaf})


def draw_datetime(spec: Spec, context: Context) -> Value:
    """A day and a clock time as `2025-03-04T15:00:00Z`."""
    rng, language = context.rng, context.language
    if context.today is not None:
        words, day = relative_date(context.today, language, rng)
    else:
        day = date(2025, 1, 1) + timedelta(rng.randrange(720))
        words = explicit_date(day, language, rng)
    clock = sample({"t": "time", "lo": 7, "hi": 21}, context)
    utc = " UTC" if language == "en" else "（UTC）"
    blank = " " if words[-1].isdigit() and clock.text[0].isdigit() else ""
    text = f"{words} at {clock.text}{utc}" if language == "en" else f"{words}{blank}{clock.text}{utc}"
    return _one(f"{day.isoformat()}T{clock.arg}:00Z", text)


def draw_quoted(spec: Spec, context: Context) -> Value:
    """A text in quotation marks, from a pool or from `values`."""
    chinese = context.language == "zh"
    text = (
        context.rng.choice(spec["values"])
        if "values" in spec
        else context.rng.choice(context.pools[spec["pool"]])[chinese]
    )
    return Value(text, context.rng.choice(_MARKS[context.language]).format(text), {"": text})


def draw_code(spec: Spec, context: Context) -> Value:
    """A piece of code or a command, between backticks."""
    text = context.rng.choice(spec["values"])
    return Value(text, f"`{text}`", {"": text})


def draw_identifier(spec: Spec, context: Context) -> Value:
    """An identifier that the world gives out, so that it exists."""
    value = context.issue(spec["kind"], make=spec["make"])
    return Value(value, str(value), {"": str(value)})


@dataclass(frozen=True, slots=True)
class DrawList:
    """Several values of one kind, all different."""

    item: Spec
    low: int
    high: int

    def __call__(self, spec: Spec, context: Context) -> Value:
        """A list and the words "a, b and c"."""
        wanted = context.rng.randint(self.low, self.high)
        values: list[Value] = []
        for _ in range(8 * wanted):
            value = self.item["draw"](self.item, context)
            if len(values) < wanted and all(value.arg != v.arg and value.text != v.text for v in values):
                values.append(value)
        leaves = {_path(str(i), path): leaf for i, v in enumerate(values) for path, leaf in v.leaves.items()}
        texts = [value.text for value in values]
        joined = ("；" if context.language == "zh" else "; ").join(texts) if self.item["t"] == "object" else ""
        return Value([value.arg for value in values], joined or join_words(texts, context.language), leaves)


@dataclass(frozen=True, slots=True)
class DrawGroup:
    """A nested object: its required fields and a few of the others."""

    fields: Sequence[tuple[str, str, str, Spec, bool]]
    """(key, English noun, Chinese noun, spec, required)."""

    def __call__(self, spec: Spec, context: Context) -> Value:
        """An object and the words "name Anna, age 31"."""
        optional = [field[0] for field in self.fields if not field[4]]
        most = min(len(optional), 2)
        least = 0 if len(optional) < len(self.fields) else min(1, most)
        chosen = set(context.rng.sample(optional, context.rng.randint(least, most)))
        values: dict[str, Value] = {}
        texts: list[str] = []
        colon = (
            context.rng.choice((" ", ": ", " = ")) if context.language == "en" else context.rng.choice(("", "：", "为"))
        )
        for key, noun, noun_zh, inner, required in self.fields:
            if not required and key not in chosen:
                continue
            values[key] = value = _switch(context) if inner["t"] == "bool" else inner["draw"](inner, context)
            name = noun_zh if context.language == "zh" else noun
            texts.append(f"{name}{colon or ' '}{value.text}")
        leaves = {_path(key, path): leaf for key, value in values.items() for path, leaf in value.leaves.items()}
        text = ("，" if context.language == "zh" else ", ").join(texts)
        return Value({key: value.arg for key, value in values.items()}, text, leaves)


def _switch(context: Context) -> Value:
    """A switch inside an object: on or off, after its name."""
    value = context.rng.random() < 0.5
    return _one(value, str(value).lower())


_PAIRS: Mapping[str, tuple[str, ...]] = {
    "status": ("active", "archived", "pending"),
    "priority": ("high", "low"),
    "owner": ("anna", "jonas", "mei"),
    "category": ("travel", "finance", "health"),
    "region": ("europe", "asia"),
    "language": ("en", "de", "zh"),
    "team": ("blue", "support", "design"),
    "source": ("web", "import"),
}


def draw_pairs(spec: Spec, context: Context) -> Value:
    """An open object: one to three made-up fields, said as `status = active`."""
    keys = context.rng.sample(sorted(_PAIRS), context.rng.randint(1, 3))
    found = {key: context.rng.choice(_PAIRS[key]) for key in keys}
    texts = [f"{key} = {value}" for key, value in found.items()]
    return Value(found, join_words(texts, context.language), dict(found))


_NAMES = tuple(
    tuple(names.split("; "))
    for names in (
        "Spring campaign; Demo project; Weekly report; Test run; Main office; Onboarding; Project Atlas; "
        "Product launch; Backup; Team page; Summer plan; Research notes; Pilot phase; Prototype; Harbor",
        "春季活动; 演示项目; 项目周报; 测试版; 总部; 新人培训; 星河计划; 新品发布; 备份; 团队主页; 暑期计划; 研究笔记; "
        "试点项目; 样机; 远航",
    )
)
"""Names that nearly anything at work may have: (English, Chinese)."""


def draw_name(spec: Spec, context: Context) -> Value:
    """A name, for parameters of which nothing is known but that they name something."""
    text = context.rng.choice(_NAMES[context.language == "zh"])
    return Value(text, text, {"": text})


def _path(head: str, tail: str) -> str:
    return f"{head}.{tail}".rstrip(".")


def slug(text: str) -> str:
    """Letters and digits only, for identifiers of kinds."""
    return re.sub(r"[^0-9A-Za-z一-鿿]+", "_", text).strip("_").lower() or "tool"
