"""What slot types share: a value and the words that carry it, the context of sampling, numbers as people write them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Any, NamedTuple

Spec = Mapping[str, Any]
"""Slot specification: its type "t" and what the type takes."""
Leaf = str | Mapping[str, str]
"""Words that carry a leaf value; with `means` where only a declared synonym links the two."""

_ONES_EN_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
ONES_EN = tuple(_ONES_EN_TEXT.split())
TENS_EN = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DIGITS_ZH = "零一二三四五六七八九"


class Value(NamedTuple):
    """One argument and the user's words for it.

    A tuple, like everything of which a conversation has several: a frozen dataclass takes three times as long to make.
    """

    arg: Any
    text: str
    leaves: Mapping[str, Any] = MappingProxyType({})
    """Path inside the argument ("" for itself, "0.name" …) → the words that carry the leaf."""


class Context(NamedTuple):
    """What sampling may depend on besides the slot."""

    rng: random.Random
    language: str
    today: date | None
    """Set where the system message tells the date, so that relative dates can be resolved."""
    pools: Mapping[str, tuple[tuple[str, str], ...]]
    issue: Callable[..., Any]
    """Gives an identifier of a kind that exists in the world."""
    given: Mapping[str, Value] = MappingProxyType({})
    """Parameter → value, of those that the same call has already."""

    @property
    def chinese(self) -> bool:
        """Whether the user writes Chinese."""
        return self.language == "zh"


Draw = Callable[[Spec, Context], Value]
Fragment = Callable[[Spec], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SlotType:
    """How values of a type are drawn, and what their JSON Schema says."""

    draw: Draw
    fragment: Fragment
    unit: str = ""
    """Unit of the argument, where the type has one and the slot names no other."""


def plain(kind: str, **more: Any) -> Fragment:
    """A schema fragment that does not depend on the slot."""
    return lambda spec: {"type": kind, **more}


def carried(arg: Any, text: str, carrier: Leaf | None = None) -> Value:
    """A single leaf, carried by the whole text or by `carrier`."""
    return Value(arg, text, {"": carrier if carrier is not None else text})


def meant(arg: str, text: str, words: str | None = None) -> Value:
    """A declared synonym: `words` of the text (all of it by default) mean `arg`."""
    words = text if words is None else words
    return carried(arg, text, words if words.casefold() == arg.casefold() else {"text": words, "means": arg})


def whole(spec: Spec, context: Context) -> int:
    """A whole number between `lo` and `hi`, mostly round where the range is wide."""
    lo, hi = spec.get("lo", 1), spec.get("hi", 100)
    step = spec.get("step", 0)
    if not step:
        step = 1 if hi <= 1000 else 10 if hi < 20000 else 1000
    value = context.rng.randrange(lo, hi + 1, step)
    if hi > 1000 and context.rng.random() < 0.35:
        value = min(hi, value + context.rng.randint(0, step - 1))
    return int(value)


def words_en(n: int) -> str:
    """0 ≤ n < 100 in English words."""
    if n < 20:
        return ONES_EN[n]
    tens, ones = divmod(n, 10)
    return TENS_EN[tens] + (f"-{ONES_EN[ones]}" if ones else "")


def words_zh(n: int, counting: bool = True) -> str:
    """0 ≤ n < 100 in Chinese; 两 instead of 二 before a measure word (`counting`)."""
    if n == 2 and counting:
        return "两"
    tens, ones = divmod(n, 10)
    head = "" if tens == 0 else "十" if tens == 1 else DIGITS_ZH[tens] + "十"
    return head + (DIGITS_ZH[ones] if ones or not head else "")


def number_text(number: float, context: Context, plain: bool = False) -> str:
    """A number as people write it: digits, separators, or (not `plain`) words where it is small."""
    rng = context.rng
    if not float(number).is_integer():
        return f"{number:,}" if number >= 1000 and rng.random() < 0.3 and not context.chinese else str(number)
    n = int(number)
    if not plain and 0 < n < 100 and rng.random() < (0.2 if n <= 10 else 0.06):
        return words_zh(n) if context.chinese else words_en(n)
    if context.chinese:
        return f"{n // 10000}万" if n >= 10000 and n % 10000 == 0 and rng.random() < 0.6 else str(n)
    if n >= 1_000_000 and n % 100_000 == 0 and rng.random() < 0.5:
        return f"{n / 1_000_000:g} million"
    return f"{n:,}" if n >= 1000 and rng.random() < 0.5 else str(n)


def bare(text: str) -> str:
    """`text` without a leading article: it belongs to the sentence, not to the value."""
    return text.split(" ", 1)[1] if text.startswith(("the ", "a ", "an ")) else text


def join_words(words: Sequence[str], language: str, rng: random.Random | None = None) -> str:
    """ "a, b and c" or "a、b和c"; with `rng` the last joint varies in Chinese."""
    if len(words) == 1:
        return words[0]
    if language == "zh":
        joint = "和" if rng is None else rng.choice(("和", "和", "、", "还有"))
        return "、".join(words[:-1]) + joint + words[-1]
    return ", ".join(words[:-1]) + " and " + words[-1]
