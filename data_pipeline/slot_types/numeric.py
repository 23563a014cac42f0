"""Numbers: counts, percentages, money, and quantities with units."""

import re
from collections.abc import Sequence
from typing import Any

from data_pipeline.slot_types.base import (
    Context,
    Draw,
    SlotType,
    Spec,
    Value,
    carried,
    number_text,
    plain,
    whole,
    words_en,
    words_zh,
)
from data_pipeline.slot_types.tables import CURRENCIES, currency_names

_PLURAL_UNIT = re.compile(r"^([a-z]{2,})s\b")
_LEAST_CARD = 13
"""Digits of the shortest card number; as many with nothing but blanks between them could be taken for one."""


def with_unit(text: str, spec: Spec, context: Context) -> str:
    """`text` followed by the slot's unit in the conversation's language ("u": "kg;kilograms|千克")."""
    if "u" not in spec:
        return text
    english, _, chinese = spec["u"].partition("|")
    if context.chinese:
        return text + str(context.rng.choice((chinese or english).split(";")))
    unit = context.rng.choice(english.split(";"))
    if text in ("1", "one"):
        unit = _PLURAL_UNIT.sub(r"\1", unit)
    return f"{text}{unit}" if unit in ("°", "°C", "%") else f"{text} {unit}"


def _int(spec: Spec, context: Context) -> Value:
    arg = whole(spec, context)
    # Words go with what is counted or measured: three people, 三个人, but x = 3, 数值为3.
    spoken = not spec.get("digits") and ("count" in spec or "u" in spec)
    return carried(arg, with_unit(number_text(arg, context, plain=not spoken), spec, context))


def _num(spec: Spec, context: Context) -> Value:
    low, high, digits = spec.get("lo", 1), spec.get("hi", 100), spec.get("d", 1)
    if context.rng.random() < 0.5 and high >= 3:
        arg: float = whole({**spec, "lo": max(1, int(low)), "hi": int(high)}, context)
    else:
        arg = round(context.rng.uniform(low, high), digits)
    if float(arg).is_integer():
        arg = int(arg)
    return carried(arg, with_unit(number_text(arg, context, plain="u" not in spec), spec, context))


def _money(spec: Spec, context: Context) -> Value:
    arg: float = whole(spec, context)
    if spec.get("cents") and context.rng.random() < 0.4:
        arg = round(arg + context.rng.choice((0.5, 0.99, 0.25, 0.95)), 2)
    text = number_text(arg, context, plain=True)
    if context.chinese:
        spoken = "块钱" if arg < 1000 else "元"
        return carried(arg, text + (spec.get("said") or context.rng.choice(("元", "元", "块", spoken))))
    if text.endswith("million"):
        return carried(arg, "$" + text)
    return carried(arg, context.rng.choice((f"${text}", f"${text}", f"{text} dollars", f"${text}", f"{text} USD")))


def _price(spec: Spec, context: Context) -> Value:
    amount = whole(spec, context)
    code = context.rng.choice(CURRENCIES)
    text = number_text(amount, context, plain=True)
    said = context.rng.choice((code, *currency_names(code, context.language)))
    joined = text + said if context.chinese and said != code else f"{text} {said}"
    currency = said if said == code else {"text": said, "means": code}
    return Value({"amount": amount, "currency": code}, joined, {"amount": text, "currency": currency})


def _pct(spec: Spec, context: Context) -> Value:
    value = round(context.rng.uniform(spec.get("lo", 1), spec.get("hi", 20)) * 2) / 2 or 1.0
    if value.is_integer():
        value = int(value)
    small = value if isinstance(value, int) and 1 <= value <= 90 else None
    arg = round(value / 100, 6) if spec.get("frac") else value
    words = [f"{value}%", f"{value}%", f"{value}%"]
    if context.chinese:
        words += [f"百分之{words_zh(small, counting=False)}"] if small is not None else []
    else:
        words += [f"{value} percent", *([f"{words_en(small)} percent"] if small is not None else [])]
    return carried(arg, context.rng.choice(words))


def _probability(spec: Spec, context: Context) -> Value:
    hundredths = context.rng.randint(round(spec.get("lo", 0.05) * 100), round(spec.get("hi", 0.95) * 100))
    return carried(hundredths / 100, context.rng.choice((f"{hundredths / 100}", f"{hundredths}%")))


def _ordinal(spec: Spec, context: Context) -> Value:
    n = context.rng.randint(spec.get("lo", 1), spec.get("hi", 12))
    if context.chinese:
        return carried(n, f"第{context.rng.choice((str(n), words_zh(n, counting=False)))}")
    suffix = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return carried(n, f"{n}{suffix}", str(n))


def _rating(spec: Spec, context: Context) -> Value:
    arg = context.rng.choice((3, 3.5, 4, 4, 4.5, 4.2, 4.7))
    return carried(arg, f"{arg}{context.rng.choice('星分')}" if context.chinese else f"{arg} stars")


def _duration(spec: Spec, context: Context) -> Value:
    """Minutes (default), seconds, hours or days, said in whichever unit is shorter."""
    unit = spec.get("unit", "minutes")
    if unit != "minutes":
        arg: float = whole({"lo": 1, "hi": 12, **spec}, context)
        return carried(arg, _counted(arg, unit, context))
    arg = context.rng.choice(
        [m for m in (5, 10, 15, 20, 25, 30, 30, 40, 45, 50, 60, 60, 75, 90, 90, 120, 150, 180, 240)
         if spec.get("lo", 5) <= m <= spec.get("hi", 240)]
    )  # fmt: skip
    text = context.rng.choice(_minutes(int(arg), context))
    # Said in another unit, the words are a synonym of the argument, not the number itself.
    return carried(arg, text, text if re.search(r"minute|分钟", text) else {"text": text, "means": str(arg)})


_UNITS = {
    "seconds": ("second", "秒", "秒钟"),
    "minutes": ("minute", "分钟", "分钟"),
    "hours": ("hour", "小时", "个小时"),
    "days": ("day", "天", "天"),
    "weeks": ("week", "周", "个星期"),
    "months": ("month", "个月", "个月"),
    "years": ("year", "年", "年"),
}


def _counted(n: float, unit: str, context: Context) -> str:
    singular, short, long = _UNITS[unit]
    text = number_text(n, context)
    if context.chinese:
        return text + context.rng.choice((short, long))
    return f"{text} {singular}{'' if n == 1 else 's'}"


def _minutes(n: int, context: Context) -> Sequence[str]:
    hours, rest = divmod(n, 60)
    said = [_counted(n, "minutes", context)]
    if context.chinese:
        said += ["半小时", "半个小时"] if n == 30 else ["一刻钟"] if n == 15 else []
        if hours and rest == 0:
            said += [f"{words_zh(hours)}小时", f"{words_zh(hours)}个小时", f"{hours}小时"]
        elif hours and rest == 30:
            said += [f"{words_zh(hours)}个半小时", f"{hours}.5小时"]
        return said
    said += ["half an hour"] if n == 30 else []
    if hours and rest == 0:
        said += ["an hour" if hours == 1 else f"{words_en(hours)} hours", _counted(hours, "hours", context)]
    elif hours and rest == 30:
        said += [f"{hours}.5 hours", "an hour and a half" if hours == 1 else f"{words_en(hours)} and a half hours"]
    return said


_MEASURES: dict[str, tuple[str, dict[str, Any]]] = {
    "temperature": ("degrees Celsius", {"lo": -10, "hi": 38, "u": "°C;degrees;degrees Celsius|度;摄氏度"}),
    "fahrenheit": ("degrees Fahrenheit", {"lo": 20, "hi": 100, "u": "°F;degrees Fahrenheit|华氏度"}),
    "distance": ("kilometers", {"lo": 2, "hi": 900, "u": "km;kilometers|公里"}),
    "length": ("centimeters", {"lo": 5, "hi": 250, "u": "cm;centimeters|厘米"}),
    "weight": ("kilograms", {"lo": 1, "hi": 120, "u": "kg;kilograms;kilos|公斤"}),
    "area": ("square meters", {"lo": 10, "hi": 300, "u": "square meters;m²|平方米;平米"}),
    "volume": ("liters", {"lo": 1, "hi": 200, "u": "liters|升"}),
    "speed": ("km/h", {"lo": 20, "hi": 180, "u": "km/h;kilometers per hour|公里每小时"}),
    "file_size": ("megabytes", {"lo": 1, "hi": 900, "u": "MB;megabytes|MB;兆"}),
    "energy": ("kilowatt-hours", {"lo": 2, "hi": 900, "u": "kWh|度"}),
    "calories": ("kilocalories", {"lo": 100, "hi": 2500, "step": 50, "u": "kcal;calories|大卡;卡"}),
    "age": ("years", {"lo": 18, "hi": 80, "u": "years old|岁"}),
}
"""Quantities of one unit: unit of the argument, and the slot's defaults."""


def _measure(defaults: dict[str, Any]) -> Draw:
    return lambda spec, context: _int({**defaults, **spec}, context)


def _year(spec: Spec, context: Context) -> Value:
    arg = context.rng.randint(spec.get("lo", 1950), spec.get("hi", 2024))
    return carried(arg, f"{arg}年" if context.chinese and not spec.get("digits") else str(arg))


def _numbers(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 3), spec.get("max", 7))
    digits = spec.get("d", 1) if spec["t"] == "nums" and context.rng.random() < 0.6 else 0
    args: list[float] = []
    for _ in range(count):
        number = round(context.rng.uniform(spec.get("lo", 1), spec.get("hi", 100)), digits)
        args.append(int(number) if digits == 0 or float(number).is_integer() else number)
    words = [str(a) for a in args]
    layouts = (
        ["、".join(words), "，".join(words)] if context.chinese else [" and ".join([", ".join(words[:-1]), words[-1]])]
    )
    layouts += [", ".join(words), ", ".join(words), f"[{', '.join(words)}]"]
    if sum(map(len, words)) < _LEAST_CARD:
        layouts.append(" ".join(words))
    return Value(args, context.rng.choice(layouts), {str(i): w for i, w in enumerate(words)})


def _matrix(spec: Spec, context: Context) -> Value:
    rows, columns = context.rng.choice(((2, 2), (2, 2), (2, 3), (3, 3)))
    args = [[context.rng.randint(-9, 20) for _ in range(columns)] for _ in range(rows)]
    text = "[" + ", ".join(f"[{', '.join(map(str, row))}]" for row in args) + "]"
    return Value(args, text, {f"{i}.{j}": str(n) for i, row in enumerate(args) for j, n in enumerate(row)})


def _range(spec: Spec, context: Context) -> Value:
    """An object with `min` and `max`."""
    lo, hi = spec.get("lo", 10), spec.get("hi", 500)
    step = max(1, spec.get("step", (hi - lo) // 40 or 1))
    first = context.rng.randrange(lo, (lo + hi) // 2, step)
    last = context.rng.randrange(first + step, hi + 1, step)
    texts = [str(first), str(last)]
    if context.chinese:
        unit = spec.get("u", "|").split("|")[1]
        text = context.rng.choice(("{}到{}" + unit, "{}-{}" + unit, "{}" + unit + "到{}" + unit)).format(*texts)
    else:
        unit = spec.get("u", "|").split("|")[0]
        layout = {"$": "between ${} and ${}", "": "between {} and {}"}.get(unit, "between {} and {} " + unit)
        text = context.rng.choice((layout, layout.replace("between", "from").replace(" and ", " to "))).format(*texts)
    return Value({"min": first, "max": last}, text, {"min": texts[0], "max": texts[1]})


def _bounds(spec: Spec) -> dict[str, Any]:
    inner = {"type": "number"}
    return {"type": "object", "properties": {"min": inner, "max": inner}, "required": ["min", "max"]}


def _priced(spec: Spec) -> dict[str, Any]:
    fields = {"amount": {"type": "number"}, "currency": {"type": "string", "enum": list(CURRENCIES)}}
    return {"type": "object", "properties": fields, "required": list(fields)}


def _items(kind: str) -> SlotType:
    return SlotType(_numbers, plain("array", items={"type": kind}))


TYPES: dict[str, SlotType] = {
    "int": SlotType(_int, plain("integer")),
    "num": SlotType(_num, plain("number")),
    "money": SlotType(_money, plain("number")),
    "price": SlotType(_price, _priced),
    "pct": SlotType(_pct, plain("number")),
    "probability": SlotType(_probability, plain("number")),
    "ordinal": SlotType(_ordinal, plain("integer")),
    "rating": SlotType(_rating, plain("number"), "stars"),
    "duration": SlotType(_duration, plain("integer"), "minutes"),
    "year": SlotType(_year, plain("integer")),
    "ints": _items("integer"),
    "nums": _items("number"),
    "matrix": SlotType(_matrix, plain("array", items={"type": "array", "items": {"type": "number"}})),
    "range": SlotType(_range, _bounds),
    **{key: SlotType(_measure(spec), plain("number"), unit) for key, (unit, spec) in _MEASURES.items()},
}
