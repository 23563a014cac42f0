"""Hand-written requests of the built-in tools: a small template language with optional parts and alternatives.

One template a line in `catalogue/requests_en.yaml` and `requests_zh.yaml`; a line that begins with "!" is a whole
sentence, any other an imperative that frames can wrap ("Could you …?").

    {city}        the user's words for the value        {date@on}       with a preposition, where English has one
    {nights#night} a number and what it counts          {title!}        without quotation marks
    {limit~}      the parameter's own phrase            {...}           all values that are not said elsewhere
    [ in {city}]  only where the value is given         <find|look for> one of these

A template fits a set of values when it can say all of them and needs no other.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from data_pipeline.dates import adverbial
from data_pipeline.slots import Value
from data_pipeline.tables import read_table
from fcdist.errors import GenerationError

Values = Mapping[str, Value]
Phrase = Callable[[str], str]
"""Parameter → its own phrase."""
_FOLDER = Path(__file__).parent / "catalogue"
_SLOT = re.compile(r"(\w+)(?:([@#~!])([\w ]*))?$")
_NEXT = {ends: re.compile(f"[{{[<{re.escape(ends)}]") for ends in ("", "|]", "|>")}
"""Characters that end a part → what ends a literal in it."""
_PLURALS = {"person": "people", "child": "children", "loaf": "loaves", "box": "boxes", "dish": "dishes"}
_SAMPLE = 3
"""Fitting templates tried before an alternative without the right slots counts as a misfit."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value, and how it is put in."""

    key: str
    mark: str
    argument: str


@dataclass(frozen=True, slots=True)
class Rest:
    """The place for values that are not said elsewhere."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several parts; `optional`: or none of them where a value is not given."""

    parts: tuple["Part", ...]
    optional: bool


Item = str | Slot | Rest | Choice


@dataclass(frozen=True, slots=True)
class Part:
    """What stands between two brackets, or a whole line; what it says is gathered once, as lines are written often."""

    items: tuple[Item, ...]
    needed: frozenset[str]
    """Values without which it cannot be written."""
    known: frozenset[str]
    """Values that it can say."""
    open: bool
    """Has a place for values that it does not name."""

    @classmethod
    def of(cls, items: Sequence[Item]) -> "Part":
        """The part made of `items`."""
        needed: set[str] = set()
        known: set[str] = set()
        opened = False
        for item in items:
            if isinstance(item, Slot):
                needed.add(item.key)
                known.add(item.key)
            elif isinstance(item, Choice):
                known.update(*[part.known for part in item.parts])
                opened = opened or any([part.open for part in item.parts])
                if not item.optional:
                    needed |= frozenset.intersection(*[part.needed for part in item.parts])
            elif isinstance(item, Rest):
                opened = True
        return cls(tuple(items), frozenset(needed), frozenset(known), opened)


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled line."""

    part: Part
    whole: bool
    """A sentence of its own; otherwise an imperative."""
    noun: str = ""
    """What NOUN stands for in its literals."""
    main: str = ""
    """The parameter that `{main}` stands for; empty where a line belongs to one tool and names its parameters."""

    def about(self, noun: str, main: str) -> "Template":
        """The same for one of the tools that share the line: what stands for NOUN and `{main}`."""
        return Template(self.part, self.whole, noun, main)

    def alias(self, key: str) -> str:
        """What the line calls the parameter `key`."""
        return "main" if key == self.main else key

    def fits(self, given: frozenset[str]) -> bool:
        """Whether it needs nothing else than `given`, as the line calls them, and can say it all."""
        return self.part.needed <= given and (self.part.open or given <= self.part.known)


class _MissingError(Exception):
    """A part needs a value that is not given."""


@lru_cache
def requests(language: str) -> Mapping[str, tuple[str, ...]]:
    """Lines by tool; `lookup` and `formula` hold lines with NOUN for tools of these kinds."""
    table = read_table(_FOLDER / f"requests_{language}.yaml")
    return {key: tuple(line for line in text.splitlines() if line.strip()) for key, text in table.items()}


@cache  # as many as the catalogue has lines
def compiled(line: str) -> Template:
    """Parse one line. Raises GenerationError that quotes the line."""
    whole = line.startswith("!")
    stream = _Stream(line[1:].lstrip() if whole else line)
    return Template(stream.sequence(""), whole)


class _Stream:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def sequence(self, ends: str) -> Part:
        """Items up to one of the characters `ends`, which is not consumed."""
        items: list[Item] = []
        while self._at < len(self._text) and (char := self._text[self._at]) not in ends:
            if char in "{[<":
                self._at += 1
                items.append(self._slot() if char == "{" else self._choice("]" if char == "[" else ">"))
            else:
                items.append(self._literal(ends))
        if ends and self._at >= len(self._text):
            raise self._broken(f"{ends[-1]!r} is missing")
        return Part.of(items)

    def _literal(self, ends: str) -> str:
        """Text up to the next bracket that opens, or one of `ends`."""
        start = self._at
        found = _NEXT[ends].search(self._text, start)
        self._at = found.start() if found else len(self._text)
        return self._text[start : self._at]

    def _choice(self, end: str) -> Choice:
        parts = [self.sequence("|" + end)]
        while self._text[self._at] == "|":
            self._at += 1
            parts.append(self.sequence("|" + end))
        self._at += 1
        return Choice(tuple(parts), optional=end == "]")

    def _slot(self) -> "Slot | Rest":
        close = self._text.find("}", self._at)
        if close < 0:
            raise self._broken("'}' is missing")
        inner, self._at = self._text[self._at : close], close + 1
        if inner == "...":
            return Rest()
        if (match := _SLOT.match(inner)) is None:
            raise self._broken(f"{inner!r} is not a slot")
        return Slot(match[1], match[2] or "", match[3] or "")

    def _broken(self, why: str) -> GenerationError:
        return GenerationError(f"request template {self._text!r}: {why}")


@dataclass(slots=True)
class _Writer:
    template: Template
    values: Values
    """By what the template calls their parameters."""
    rng: random.Random
    phrase: Phrase
    used: set[str]

    def part(self, part: Part) -> str:
        out, said, skipped = "", False, False  # since the last literal
        for item in part.items:
            text = self._item(item)
            if text.startswith("the ") and out.endswith(("the ", "The ")):
                text = text[4:]
            if skipped and not said and text.startswith("的"):  # 查北京的天气, but 查天气
                text = text[1:]
            if out and text and _run_together(out[-1], text[0]):
                out += " "
            elif out.endswith(_ARTICLES) and _needs_an(out, text):
                out = re.sub(r"(?<=[Aa])(?= ?$)", "n", out)
            out += text
            literal = isinstance(item, str) or (isinstance(item, Choice) and not any(p.known for p in item.parts))
            said, skipped = not literal and (said or bool(text)), not literal and (skipped or not text)
        return out

    def _item(self, item: Item) -> str:
        if isinstance(item, str):
            return item.replace("NOUN", self.template.noun) if self.template.noun else item
        if isinstance(item, Rest):
            return "\0"
        if isinstance(item, Slot):
            return self._value(item)
        fitting = [p for p in item.parts if self.values.keys() >= p.needed]
        if item.optional:
            saying = [p for p in fitting if p.known]
            fitting = saying or fitting
            if not fitting or (not saying and len(item.parts) == 1 and self.rng.random() < 0.5):
                return ""
        if not fitting:
            raise _MissingError
        return self.part(self.rng.choice(fitting))

    def _value(self, slot: Slot) -> str:
        value = self.values[slot.key]
        self.used.add(slot.key)
        if slot.mark == "@":
            return with_preposition(value.text, slot.argument)
        if slot.mark == "#":
            return f"{value.text} {slot.argument if value.arg == 1 else plural(slot.argument)}"
        if slot.mark == "!":
            leaf = value.leaves.get("", value.text)
            return leaf if isinstance(leaf, str) else str(leaf["text"])
        if slot.mark == "~":
            shared = self.template.main and slot.key == "main"
            return self.phrase(self.template.main if shared else slot.key)
        return value.text


_ARTICLES = ("a", "A", "a ", "A ")
_ARTICLE = re.compile(r"\b[Aa] ?$")
_VOWEL = re.compile(r"(?!one\b|uni|us[ae])[aeiou8]|11|18", re.I)


_MARKS_ZH = (
    (re.compile(r"^[，、：]+"), ""),
    (re.compile(r"(?<=[：，、。？！])[，、]+"), ""),
    (re.compile(r"[：，、]+(?=[。？！]|$)"), ""),
)
_BLANKS = (
    (re.compile(r" +(?=[?.!,](?: |$))"), ""),
    (re.compile(r"(?<=\w)  +(?=\w)"), " "),
)
_DETERMINERS = (
    (re.compile(r"\b(?:My|Our|The|An?) the same\b"), "The same"),
    (re.compile(r"\b(?:my|our|the|an?) the same\b"), "the same"),
)


def article_before(text: str) -> str:
    """The indefinite article that goes before `text`."""
    return "an" if _VOWEL.match(text) else "a"


def _needs_an(out: str, text: str) -> bool:
    """Whether `out` ends in an article that reads "an" before `text`."""
    return bool(_ARTICLE.search(out) and _VOWEL.match(text if out[-1] == " " else text[1:]))


def _run_together(left: str, right: str) -> bool:
    return left.isascii() and right.isascii() and left.isalnum() and right.isalnum() and (left + right).strip() != ""


def _tidied(text: str) -> str:
    """Without the marks and blanks that parts which were not said leave behind, and "my" before "the same pet"."""
    if not text.isascii():
        text = _replaced(_MARKS_ZH, text)
    if any([blanks in text for blanks in ("  ", " ?", " .", " !", " ,")]):
        text = _replaced(_BLANKS, text)
    return _replaced(_DETERMINERS, text) if " the same" in text else text


def _replaced(rules: Sequence[tuple[re.Pattern[str], str]], text: str) -> str:
    for pattern, new in rules:
        text = pattern.sub(new, text)
    return text


def written(
    fitting: Sequence[Template],
    values: Values,
    rng: random.Random,
    phrase: Phrase,
    rest: Callable[[str, Sequence[str]], str],
) -> tuple[str, bool] | None:
    """One of `fitting` that says exactly `values`, and whether it is a sentence of its own.

    Args:
        fitting: templates that fit the values.
        values: what the user gives.
        rng: source of choices.
        phrase: a parameter's own phrase, for `{x~}`.
        rest: appends the parameters not said elsewhere to what stands before `{...}`.

    Returns:
        None where none fits.
    """
    for _ in range(min(_SAMPLE, len(fitting))):
        template = rng.choice(fitting)
        said = {template.alias(key): value for key, value in values.items()} if template.main else values
        writer = _Writer(template, said, rng, phrase, set())
        try:
            text = writer.part(template.part)
        except _MissingError:
            continue
        left = [key for key in values if template.alias(key) not in writer.used]
        if left and not template.part.open:
            continue
        before, _, after = text.partition("\0")
        text = (rest(before, left) if left else before) + after
        return _tidied(text), template.whole
    return None


def plural(noun: str) -> str:
    """night → nights."""
    first, _, tail = noun.partition(" ")
    return f"{_PLURALS.get(first, first + 's')}{' ' + tail if tail else ''}"


def with_preposition(text: str, preposition: str) -> str:
    """ "on March 3", but "tomorrow"; "by Friday", but "in three days"."""
    if re.match(r"in \w+ |at |on |by ", text, re.I):
        return text
    if preposition == "on":
        return adverbial(text)
    return f"{preposition} {text}"
