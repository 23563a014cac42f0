"""Typed values: each kind samples a value, says how a user writes it, and gives its JSON-Schema fragment."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from data_pipeline.dates import SMALL_EN, SMALL_ZH, explicit_date, relative_date
from data_pipeline.people import company, email, invented, person, phone

Spec = Mapping[str, Any]
Leaf = str | Mapping[str, str]
"""Words that carry a leaf value; with `means` where only a declared synonym links the two."""


@dataclass(frozen=True, slots=True)
class Value:
    """One argument and the user's words for it."""

    arg: Any
    text: str
    leaves: Mapping[str, Any] = field(default_factory=dict)
    """Path inside the argument ("" for itself, "0.name" …) → the words that carry the leaf."""


@dataclass(frozen=True, slots=True)
class Context:
    """What sampling may depend on besides the slot."""

    rng: random.Random
    language: str
    today: date | None
    """Set where the system message tells the date, so that relative dates can be resolved."""
    pools: Mapping[str, tuple[tuple[str, str], ...]]
    issue: Callable[..., Any]
    """Gives an identifier of a kind that exists in the world."""


def sample(spec: Spec, context: Context) -> Value:
    """Draw a value of the slot `spec`: by its own `draw`, or by the sampler of its type "t"."""
    draw: Callable[[Spec, Context], Value] = spec.get("draw") or _SAMPLERS[spec["t"]]
    return draw(spec, context)


def schema(spec: Spec) -> dict[str, Any]:
    """JSON-Schema fragment of the slot, without description."""
    kind = spec["t"]
    if kind in ("int", "year"):
        return {"type": "integer"}
    if kind in ("num", "money", "pct"):
        return {"type": "number"}
    if kind == "bool":
        return {"type": "boolean"}
    if kind == "enum":
        return {"type": "string", "enum": [value for value, _, _ in enum_values(spec)]}
    if kind == "ints":
        return {"type": "array", "items": {"type": "integer"}}
    if kind == "nums":
        return {"type": "array", "items": {"type": "number"}}
    if kind in ("strs", "people"):
        return {"type": "array", "items": {"type": "string"}}
    if kind in ("objects", "object"):
        fields = spec["of"]
        inner = {
            "type": "object",
            "properties": {key: schema(item) for key, item in fields.items()},
            "required": list(fields),
        }
        return inner if kind == "object" else {"type": "array", "items": inner}
    return {"type": "string"}


@lru_cache(maxsize=4096)
def _parse_enum(vals: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    out = []
    for item in vals:
        value, english, chinese = (item.split("|") + [item.split("|")[0]] * 2)[:3]
        out.append((value, tuple(english.split("/")), tuple(chinese.split("/"))))
    return tuple(out)


def enum_values(spec: Spec) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """(value, English words, Chinese words) of an enum slot."""
    return _parse_enum(tuple(spec["vals"]))


def number_text(number: float, context: Context, plain: bool = False) -> str:
    """A number as people write it: digits, separators, or words where it is small."""
    rng, whole = context.rng, float(number).is_integer()
    if not whole:
        return f"{number:,}" if number >= 1000 and rng.random() < 0.3 and context.language == "en" else str(number)
    n = int(number)
    if not plain and 0 < n <= 10 and rng.random() < 0.15:
        return (SMALL_ZH if context.language == "zh" else SMALL_EN)[n]
    if context.language == "zh" and n >= 10000 and n % 10000 == 0 and rng.random() < 0.6:
        return f"{n // 10000}万"
    if context.language == "en" and n >= 1_000_000 and n % 100_000 == 0 and rng.random() < 0.5:
        return f"{n / 1_000_000:g} million"
    if n >= 1000 and context.language == "en" and rng.random() < 0.5:
        return f"{n:,}"
    return str(n)


def with_unit(text: str, spec: Spec, context: Context) -> str:
    """`text` followed by the slot's unit in the conversation's language ("u": "kg;kilograms|千克")."""
    if "u" not in spec:
        return text
    english, _, chinese = spec["u"].partition("|")
    if context.language == "zh":
        return text + str(context.rng.choice((chinese or english).split(";")))
    unit = context.rng.choice(english.split(";"))
    return f"{text}{unit}" if unit in ("°", "%") else f"{text} {unit}"


def _whole(spec: Spec, context: Context) -> int:
    lo, hi = spec.get("lo", 1), spec.get("hi", 100)
    step = spec.get("step", 0)
    if not step:
        step = 1 if hi <= 1000 else 10 if hi < 20000 else 1000
    value = context.rng.randrange(lo, hi + 1, step)
    if hi > 1000 and context.rng.random() < 0.35:
        value = min(hi, value + context.rng.randint(0, step - 1))
    return int(value)


def _one(arg: Any, text: str, carrier: Leaf | None = None) -> Value:
    return Value(arg, text, {"": carrier if carrier is not None else text})


def _int(spec: Spec, context: Context) -> Value:
    arg = _whole(spec, context)
    return _one(arg, with_unit(number_text(arg, context), spec, context))


def _num(spec: Spec, context: Context) -> Value:
    digits = spec.get("d", 1)
    if context.rng.random() < 0.5 and spec.get("hi", 100) >= 3:
        arg: float = (
            max(int(spec.get("lo", 1)), 1)
            if spec.get("hi", 100) <= 1
            else _whole({**spec, "lo": max(1, int(spec.get("lo", 1))), "hi": int(spec.get("hi", 100))}, context)
        )
    else:
        arg = round(context.rng.uniform(spec.get("lo", 1), spec.get("hi", 100)), digits)
    if float(arg).is_integer():
        arg = int(arg)
    return _one(arg, with_unit(number_text(arg, context), spec, context))


def _money(spec: Spec, context: Context) -> Value:
    arg: float = _whole(spec, context)
    if spec.get("hi", 100) <= 500 and context.rng.random() < 0.25:
        arg = round(arg + context.rng.choice((0.5, 0.99, 0.25, 0.95)), 2)
    text = number_text(arg, context, plain=True)
    if context.language == "zh":
        return _one(arg, text + context.rng.choice(("元", "元", "块", "块钱" if arg < 1000 else "元")))
    if text.endswith("million"):
        return _one(arg, "$" + text)
    return _one(arg, context.rng.choice((f"${text}", f"${text}", f"{text} dollars", f"${text}", f"{text} USD")))


def _pct(spec: Spec, context: Context) -> Value:
    value = round(context.rng.uniform(spec.get("lo", 1), spec.get("hi", 20)) * 2) / 2 or 1.0
    whole = int(value) if value.is_integer() and 1 <= value <= 10 else None
    if value.is_integer():
        value = int(value)
    arg = round(value / 100, 6) if spec.get("frac") else value
    if context.language == "zh":
        words = [f"{value}%", f"{value}%"] + (
            [f"百分之{SMALL_ZH[whole].replace('两', '二')}"] if whole is not None else []
        )
    else:
        words = [f"{value}%", f"{value}%", f"{value} percent"]
        words += [f"{SMALL_EN[whole]} percent"] if whole is not None else []
    return _one(arg, context.rng.choice(words))


def _year(spec: Spec, context: Context) -> Value:
    arg = context.rng.randint(spec.get("lo", 1950), spec.get("hi", 2024))
    return _one(arg, f"{arg}年" if context.language == "zh" else str(arg))


def _bool(spec: Spec, context: Context) -> Value:
    return _one(True, "", {"text": "", "means": "true"})


def _enum(spec: Spec, context: Context) -> Value:
    value, english, chinese = context.rng.choice(enum_values(spec))
    text = context.rng.choice(chinese if context.language == "zh" else english)
    return _one(value, text, text if text == value else {"text": text, "means": value})


def _pool(spec: Spec, context: Context) -> Value:
    text = context.rng.choice(context.pools[spec["pool"]])[context.language == "zh"]
    if context.rng.random() < 0.5:
        text = invented(spec["pool"], context.rng, context.language) or text
    return _one(bare(text), text, bare(text))


def bare(text: str) -> str:
    """`text` without a leading article: it belongs to the sentence, not to the value."""
    return text.split(" ", 1)[1] if text.startswith(("the ", "a ", "an ")) else text


def _quoted(spec: Spec, context: Context) -> Value:
    text = context.rng.choice(context.pools[spec["pool"]])[context.language == "zh"]
    marks = ("“{}”", "“{}”", "「{}」") if context.language == "zh" else ('"{}"', "'{}'", '"{}"')
    return _one(text, context.rng.choice(marks).format(text), text)


def _person(spec: Spec, context: Context) -> Value:
    text = person(context.rng, context.language)
    return _one(text, text)


def _company(spec: Spec, context: Context) -> Value:
    text = company(context.rng, context.language)
    return _one(text, text)


def _email(spec: Spec, context: Context) -> Value:
    text = email(context.rng)
    return _one(text, text)


def _phone(spec: Spec, context: Context) -> Value:
    text = phone(context.rng, context.language)
    return _one(text, text)


def _date(spec: Spec, context: Context) -> Value:
    if context.today is not None:
        text, day = relative_date(context.today, context.language, context.rng)
        return _one(day.isoformat(), text)
    day = date(2025, 1, 1) + timedelta(context.rng.randrange(720))
    return _one(day.isoformat(), explicit_date(day, context.language, context.rng))


def _time(spec: Spec, context: Context) -> Value:
    hour, minute = context.rng.randint(spec.get("lo", 7), spec.get("hi", 21)), context.rng.choice((0, 0, 0, 30, 15, 45))
    arg = f"{hour:02d}:{minute:02d}"
    if context.language == "zh":
        part = (
            "早上" if hour < 10 else "上午" if hour < 12 else "中午" if hour == 12 else "下午" if hour < 18 else "晚上"
        )
        short = hour if hour <= 12 else hour - 12
        tail = "点" if minute == 0 else "点半" if minute == 30 else f"点{minute}分"
        return _one(arg, context.rng.choice((f"{part}{short}{tail}", f"{part}{short}{tail}", arg)))
    short, half = (hour - 1) % 12 + 1, "am" if hour < 12 else "pm"
    clock = f"{short}" if minute == 0 else f"{short}:{minute:02d}"
    return _one(arg, context.rng.choice((f"{clock} {half}", f"{clock}{half}", f"{clock} {half.upper()}", arg)))


def _ref(spec: Spec, context: Context) -> Value:
    text = context.issue(spec["kind"])
    return _one(text, text)


def _code(spec: Spec, context: Context) -> Value:
    text = spec.get("pre", "") + "".join(context.rng.choice("0123456789") for _ in range(spec.get("len", 6)))
    return _one(text, text)


def join_words(words: list[str], language: str, rng: random.Random | None = None) -> str:
    """ "a, b and c" or "a、b和c"."""
    if len(words) == 1:
        return words[0]
    if language == "zh":
        return "、".join(words[:-1]) + "和" + words[-1]
    return ", ".join(words[:-1]) + " and " + words[-1]


def _numbers(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 3), spec.get("max", 7))
    digits = spec.get("d", 1) if spec["t"] == "nums" and context.rng.random() < 0.6 else 0
    args: list[float] = []
    for _ in range(count):
        number = round(context.rng.uniform(spec.get("lo", 1), spec.get("hi", 100)), digits)
        args.append(int(number) if digits == 0 or float(number).is_integer() else number)
    words = [str(a) for a in args]
    if context.language == "zh":
        layouts = ["、".join(words), "，".join(words), "[" + ", ".join(words) + "]", ", ".join(words)]
    else:
        layouts = [
            ", ".join(words),
            join_words(words, "en"),
            "[" + ", ".join(words) + "]",
            ", ".join(words[:-1]) + ", and " + words[-1],
        ]
    return Value(args, context.rng.choice(layouts), {str(i): w for i, w in enumerate(words)})


def _strs(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 2), spec.get("max", 4))
    if spec["t"] == "people":
        words = list(dict.fromkeys(person(context.rng, context.language) for _ in range(count)))
    else:
        pool = context.pools[spec["pool"]]
        words = [pair[context.language == "zh"] for pair in context.rng.sample(pool, min(count, len(pool)))]
        words = list(dict.fromkeys(words))
    args = [bare(word) for word in words]
    return Value(args, join_words(words, context.language), {str(i): arg for i, arg in enumerate(args)})


def _object(spec: Spec, context: Context) -> Value:
    values = {key: sample(item, context) for key, item in spec["of"].items()}
    layout = context.rng.choice(spec["zh" if context.language == "zh" else "en"])
    text = layout.format(**{key: value.text for key, value in values.items()})
    leaves = {f"{key}.{path}".rstrip("."): leaf for key, value in values.items() for path, leaf in value.leaves.items()}
    return Value({key: value.arg for key, value in values.items()}, text, leaves)


def _objects(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 1), spec.get("max", 3))
    items: list[Value] = []
    first = next(iter(spec["of"]))
    for _ in range(count * 3):
        value = _object(spec, context)
        if len(items) < count and value.arg[first] not in [item.arg[first] for item in items]:
            items.append(value)
    leaves = {f"{i}.{path}": leaf for i, item in enumerate(items) for path, leaf in item.leaves.items()}
    return Value([i.arg for i in items], join_words([i.text for i in items], context.language), leaves)


_SAMPLERS: dict[str, Callable[[Spec, Context], Value]] = {
    "int": _int,
    "num": _num,
    "money": _money,
    "pct": _pct,
    "year": _year,
    "bool": _bool,
    "enum": _enum,
    "pool": _pool,
    "quoted": _quoted,
    "person": _person,
    "company": _company,
    "email": _email,
    "phone": _phone,
    "date": _date,
    "time": _time,
    "ref": _ref,
    "code": _code,
    "ints": _numbers,
    "nums": _numbers,
    "strs": _strs,
    "people": _strs,
    "object": _object,
    "objects": _objects,
}
SLOT_TYPES: tuple[str, ...] = tuple(_SAMPLERS)
