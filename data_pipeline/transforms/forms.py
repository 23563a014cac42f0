"""Other ways to write one value: unit, date or time layout, list as text, other enum values, other flags.

A form is a pair of inverse functions plus a note. The note goes into the metadata beside the words, where
`data_pipeline/gate_units.py` does the rewriting again by its own rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from data_pipeline.transforms.shapes import Field, Form, Shape, Told, Tree, plain, rewritten
from data_pipeline.transforms.structure import InPlace

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FACTORS: Mapping[tuple[str, str], str] = {
    ("minutes", "seconds"): "60",
    ("hours", "minutes"): "60",
    ("seconds", "milliseconds"): "1000",
    ("years", "months"): "12",
    ("kilograms", "grams"): "1000",
    ("kg", "g"): "1000",
    ("grams", "kilograms"): "0.001",
    ("kilometers", "meters"): "1000",
    ("km", "m"): "1000",
    ("meters", "centimeters"): "100",
    ("m", "cm"): "100",
    ("centimeters", "millimeters"): "10",
    ("centimeters", "meters"): "0.01",
    ("cm", "mm"): "10",
    ("hectares", "square meters"): "10000",
    ("L", "mL"): "1000",
    ("mL", "L"): "0.001",
    ("percent", "fraction"): "0.01",
    ("currency units", "cents"): "100",
}
"""Only what can be worked out in one's head and is exact in decimals: a model must not learn to guess digits."""


class ValueForm(Protocol):
    """A way to write a value."""

    def field(self, field: Field) -> Field:
        """The parameter that takes values in this form."""

    def write(self, value: Any) -> Any:
        """The value in this form."""

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """A number in another unit."""

    unit: str
    to: str

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        whole = field.schema["type"] == "integer" and Decimal(FACTORS[self.unit, self.to]) >= 1
        return replace(
            field,
            schema={"type": "integer" if whole or self.to == "cents" else "number"},
            unit=self.to,
            default=None if field.default is None else self.write(field.default),
            examples=tuple(self.write(example) for example in field.examples),
        )

    def write(self, value: Any) -> Any:
        """The value in this form."""
        return _number(Decimal(str(value)) * Decimal(FACTORS[self.unit, self.to]))

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        return _number(Decimal(str(value)) / Decimal(FACTORS[self.unit, self.to]))

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "unit", "from": self.unit, "to": self.to}


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


@dataclass(frozen=True, slots=True)
class DateLayout:
    """An ISO date in another order: YYYY, MM (or MMM: Jan), DD."""

    layout: str

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        return replace(field, layout=self.layout, examples=tuple(self.write(e) for e in field.examples))

    def write(self, value: Any) -> Any:
        """The value in this form."""
        day = date.fromisoformat(value)
        month = _MONTHS[day.month - 1] if "MMM" in self.layout else f"{day.month:02d}"
        text = self.layout.replace("YYYY", f"{day.year:04d}").replace("DD", f"{day.day:02d}")
        return text.replace("MMM", month).replace("MM", month)

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        year = self.layout.index("YYYY")
        day, month = self.layout.index("DD"), self.layout.index("MM")
        named = "MMM" in self.layout
        number = _MONTHS.index(value[month : month + 3]) + 1 if named else int(value[month : month + 2])
        return f"{value[year : year + 4]}-{number:02d}-{value[day : day + 2]}"

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "date", "layout": self.layout}


@dataclass(frozen=True, slots=True)
class ClockLayout:
    """HH:MM in another way: HH:MM:SS, HHMM or h:MM AM/PM."""

    layout: str

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        return replace(field, layout=self.layout, examples=tuple(self.write(e) for e in field.examples))

    def write(self, value: Any) -> Any:
        """The value in this form."""
        hour, minute = value.split(":")
        if self.layout == "h:MM AM/PM":
            return f"{(int(hour) - 1) % 12 + 1}:{minute} {'AM' if int(hour) < 12 else 'PM'}"
        return self.layout.replace("HH", hour).replace("MM", minute).replace("SS", "00")

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        if self.layout == "h:MM AM/PM":
            clock, half = value.split(" ")
            hour, minute = clock.split(":")
            return f"{int(hour) % 12 + 12 * (half == 'PM'):02d}:{minute}"
        return f"{value[:2]}:{value[-2:] if self.layout == 'HHMM' else value[3:5]}"

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "time", "layout": self.layout}


@dataclass(frozen=True, slots=True)
class Listed:
    """A list as one string."""

    separator: str
    numeric: bool = False

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        return replace(field, schema={"type": "string"}, separator=self.separator)

    def write(self, value: Any) -> Any:
        """The value in this form."""
        return self.separator.join(str(item) for item in value)

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        items = value.split(self.separator) if value else []
        return [_number(Decimal(item)) for item in items] if self.numeric else items

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "list", "separator": self.separator}


@dataclass(frozen=True, slots=True)
class Coded:
    """An enum with other values.

    Attributes:
        codes: (base value, value in this form), in the order of the schema.
        explained: whether the description has to say what each value means.
    """

    codes: tuple[tuple[Any, Any], ...]
    explained: bool

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        values = [code for _, code in self.codes]
        meanings = {code: field.meanings[base] for base, code in self.codes} if self.explained else {}
        return replace(
            field,
            schema={"type": "integer" if isinstance(values[0], int) else "string", "enum": values},
            meanings=meanings,
            default=None if field.default is None else self.write(field.default),
        )

    def write(self, value: Any) -> Any:
        """The value in this form."""
        return next(code for base, code in self.codes if base == value)

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        return next(base for base, code in self.codes if code == value)

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "enum", **({"code": written} if self.explained else {})}


@dataclass(frozen=True, slots=True)
class Flag:
    """A truth value by two words or numbers."""

    yes: Any
    no: Any

    def field(self, field: Field) -> Field:
        """The parameter that takes this form."""
        kind = "integer" if isinstance(self.yes, int) else "string"
        default = None if field.default is None else self.write(field.default)
        return replace(field, schema={"type": kind, "enum": [self.yes, self.no]}, default=default)

    def write(self, value: Any) -> Any:
        """The value in this form."""
        return self.yes if value else self.no

    def read(self, value: Any) -> Any:
        """Inverse of `write`."""
        return value == self.yes

    def note(self, written: Any) -> Form:
        """What a gate must know to write the value itself."""
        return {"kind": "flag", "yes": self.yes, "no": self.no}


@dataclass(frozen=True, slots=True)
class Rewrite(InPlace):
    """Transform: the parameter `name` takes its value in another form."""

    name: str
    form: ValueForm

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        return {key: self.form.field(item) if key == self.name else item for key, item in shape.items()}

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        if self.name not in arguments:
            return arguments
        tree = arguments[self.name]
        sources = [tree] if isinstance(tree, Told) else list(tree)
        written = self.form.write(plain(tree))
        return {**arguments, self.name: rewritten(written, sources, self.form.note(written))}

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        if self.name not in arguments:
            return arguments
        return {**arguments, self.name: self.form.read(arguments[self.name])}
