"""Transforms that take a value apart (a name, a sum of money, a date, a clock time) or put date and time together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from data_pipeline.transforms.shapes import Field, Shape, Told, Tree, rewritten

_COMPOUND_SURNAMES = ("欧阳", "司马", "上官", "诸葛", "司徒", "东方", "皇甫", "尉迟", "慕容", "令狐")
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")
CURRENCIES: Mapping[str, str] = {"USD": r"\$|\bdollars?\b|\bUSD\b|美元", "CNY": r"元|块|\bCNY\b|\bRMB\b|人民币"}
"""Currency → what marks it in a user's words."""


class Splitter(Protocol):
    """A way to take a value apart."""

    def fields(self, field: Field) -> Mapping[str, Field]:
        """The parts of a parameter, in the order of the schema."""

    def split(self, told: Told) -> dict[str, Told]:
        """The parts of a value."""

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Inverse of `split`, on bare values."""


def _part(told: Told, part: str, value: Any, words: str | None = None) -> Told:
    return rewritten(value, [told], {"kind": "part", "part": part}, str(value) if words is None else words)


@dataclass(frozen=True, slots=True)
class PersonName:
    """Given and family name; a Chinese family name stands first and has no blank after it."""

    given: Field
    family: Field

    def fields(self, field: Field) -> Mapping[str, Field]:
        """The parts of the parameter."""
        return {"given": self.given, "family": self.family}

    def split(self, told: Told) -> dict[str, Told]:
        """The parts of a value."""
        given, blank, family = told.value.partition(" ")
        if not blank:
            surname = 2 if told.value.startswith(_COMPOUND_SURNAMES) and len(told.value) > 2 else 1
            family, given = told.value[:surname], told.value[surname:]
        return {"given": _part(told, "given", given), "family": _part(told, "family", family)}

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Inverse of `split`."""
        given, family = parts["given"], parts["family"]
        return family + given if _IDEOGRAPH.match(family) else f"{given} {family}"


@dataclass(frozen=True, slots=True)
class MoneyAmount:
    """Amount and currency; without a currency in the words, the declared default stands."""

    currency: Field

    def fields(self, field: Field) -> Mapping[str, Field]:
        """The parts of the parameter."""
        return {"amount": replace(field, required=True), "currency": self.currency}

    def split(self, told: Told) -> dict[str, Told]:
        """The parts of a value."""
        found = next((code for code, marks in CURRENCIES.items() if re.search(marks, told.words)), None)
        parts = {"amount": told}
        return {**parts, "currency": _part(told, "currency", found, told.words)} if found else parts

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Inverse of `split`."""
        return parts["amount"]


@dataclass(frozen=True, slots=True)
class DateParts:
    """Year, month and day as numbers."""

    parts: Mapping[str, Field]

    def fields(self, field: Field) -> Mapping[str, Field]:
        """The parts of the parameter."""
        return self.parts

    def split(self, told: Told) -> dict[str, Told]:
        """The parts of a value."""
        numbers = map(int, told.value.split("-"))
        return {p: _part(told, p, n, told.words) for p, n in zip(("year", "month", "day"), numbers, strict=True)}

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Inverse of `split`."""
        return f"{parts['year']:04d}-{parts['month']:02d}-{parts['day']:02d}"


@dataclass(frozen=True, slots=True)
class ClockParts:
    """Hour and minute as numbers."""

    parts: Mapping[str, Field]

    def fields(self, field: Field) -> Mapping[str, Field]:
        """The parts of the parameter."""
        return self.parts

    def split(self, told: Told) -> dict[str, Told]:
        """The parts of a value."""
        numbers = map(int, told.value.split(":"))
        return {p: _part(told, p, n, told.words) for p, n in zip(("hour", "minute"), numbers, strict=True)}

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Inverse of `split`."""
        return f"{parts['hour']:02d}:{parts['minute']:02d}"


@dataclass(frozen=True, slots=True)
class Split:
    """Transform: the parameter `name` becomes an object of parts; `Flatten` can make parameters of them."""

    name: str
    splitter: Splitter

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        old = shape[self.name]
        parts = self.splitter.fields(old)
        whole = replace(old, kind="group", schema={}, fields=parts, default=None, examples=(), layout="", unit="")
        return {**shape, self.name: whole}

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        if self.name not in arguments:
            return arguments
        return {**arguments, self.name: self.splitter.split(arguments[self.name])}

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        if self.name not in arguments:
            return arguments
        return {**arguments, self.name: self.splitter.join(arguments[self.name])}

    def moved(self, name: str) -> str:
        """Where the first part of `name` stands afterwards."""
        return f"{name}.{next(iter(self.splitter.fields(_NO_FIELD)))}" if name == self.name else name


_NO_FIELD = Field("group", "", "", (), {"type": "string"})


@dataclass(frozen=True, slots=True)
class Moment:
    """Transform: a date and a clock time become one parameter, "YYYY-MM-DDTHH:MM".

    Where the time is optional, a date alone stays a date.
    """

    date: str
    time: str
    moment: Field
    separator: str = "T"

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it; the new one stands in the place of the date."""
        merged = replace(self.moment, required=shape[self.date].required)
        return {key: merged if key == self.date else item for key, item in shape.items() if key != self.time}

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        if self.time not in arguments:
            return arguments
        if self.date not in arguments:  # not a call yet: a thought about what the user said so far
            return {self.date if key == self.time else key: item for key, item in arguments.items()}
        day, clock = arguments[self.date], arguments[self.time]
        value = f"{day.value}{self.separator}{clock.value}"
        merged = rewritten(value, [day, clock], {"kind": "moment", "separator": self.separator})
        return {key: merged if key == self.date else item for key, item in arguments.items() if key != self.time}

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        day, separator, clock = arguments.get(self.date, "").partition(self.separator)
        return {**arguments, self.date: day, self.time: clock} if separator else arguments

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        return self.date if name == self.time else name
