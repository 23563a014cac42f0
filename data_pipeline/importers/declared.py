"""Results whose schema is declared: every servable field is filled, and what the call said comes back."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from data_pipeline.importers.parameters import parameter
from data_pipeline.importers.raw import RefusedError, plain
from data_pipeline.importers.roles import Setting
from data_pipeline.importers.schemas import settle
from data_pipeline.slots import Context, Spec

Draw = Callable[[Context, Mapping[str, Any]], Any]
"""(context, arguments by plain name) → a result value."""
_MAX_FIELDS = 8


@dataclass(frozen=True, slots=True)
class DeclaredValue:
    """A scalar of a declared result; an argument of the same name comes back unchanged."""

    name: str
    spec: Spec
    kind: type
    values: tuple[Any, ...]
    """Of an enum, else empty."""

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it."""
        given = arguments.get(plain(self.name))
        if isinstance(given, self.kind) and (not self.values or given in self.values):
            return given
        if self.values:
            return context.rng.choice(self.values)
        if self.kind is bool:
            return context.rng.random() < 0.8
        return self.spec["draw"](self.spec, context).arg


@dataclass(frozen=True, slots=True)
class DeclaredObject:
    """An object of a declared result, all of whose servable fields are filled."""

    fields: tuple[tuple[str, Draw], ...]

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it."""
        return {key: draw(context, arguments) for key, draw in self.fields}


@dataclass(frozen=True, slots=True)
class DeclaredList:
    """A list of a declared result, one to three items."""

    item: Draw
    filters: frozenset[str] = frozenset()
    """Plain names of fields with a few values each: what the call says of them holds for every item."""

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it; items are different from one another where they can be."""
        asked = {name: value for name, value in arguments.items() if name in self.filters}
        most = min((v for k, v in arguments.items() if k in _LIMITS and isinstance(v, int) and v > 0), default=3)
        rows: list[Any] = []
        for _ in range(min(most, context.rng.randint(2, 3))):
            row = self.item(context, asked)
            if row not in rows:
                rows.append(row)
        first, last = (next((arguments[k] for k in keys if _is_day(arguments.get(k))), None) for keys in _PERIOD)
        return [_within(row, first, last, context.rng) for row in rows] if first or last else rows


_PERIOD = (
    ("since", "startdate", "datefrom", "fromdate", "from", "after", "start"),
    ("until", "enddate", "dateto", "todate", "to", "before", "end"),
)
"""Plain names of the first and the last day that a call asks for."""


_NEAR = 2
"""Days."""


def _is_day(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None


def _within(row: Any, first: str | None, last: str | None, rng: random.Random) -> Any:
    """`row` with its days inside the period that was asked for."""
    if not isinstance(row, Mapping):
        return row
    low = date.fromisoformat(first) if first else date.fromisoformat(str(last)) - timedelta(_NEAR)
    # Where the end is open, it may be today, which the back end is not told: so soon after the beginning.
    span = max(0, (date.fromisoformat(last) - low).days) if last else _NEAR
    return {
        key: (low + timedelta(rng.randint(0, span))).isoformat() if _is_day(value) else value
        for key, value in row.items()
    }


_LIMITS = ("limit", "pagesize", "maxresults", "perpage", "numresults", "top", "count", "topk")
_STATES = ("status", "state")


def declared(name: str, schema: Any, setting: Setting, depth: int = 0, new: bool = False) -> Draw:
    """How to draw a value of a result schema; what is `new` is in its first state.

    Raises:
        RefusedError: no value can be told.
    """
    node = settle(schema, depth)
    if node["type"] == "object":
        fields: list[tuple[str, Draw]] = []
        for key, inner in list((node.get("properties") or {}).items()):
            try:
                fields.append((key, declared(key, inner, setting, depth + 1, new)))
            except RefusedError:
                if key in (node.get("required") or ()):
                    raise
        if not fields:
            raise RefusedError("result_unknown", f"{name} declares no fields")
        return DeclaredObject(tuple(fields[:_MAX_FIELDS]))
    if node["type"] == "array":
        owner = setting.owner if depth == 0 else name.rstrip("s").lower()
        item = declared(name, node.get("items"), replace(setting, owner=owner), depth + 1)
        inner_fields = item.fields if isinstance(item, DeclaredObject) else ()
        return DeclaredList(
            item, frozenset(plain(k) for k, v in inner_fields if isinstance(v, DeclaredValue) and v.values)
        )
    spec = parameter("value", name, node, True, setting).spec
    kind = {"boolean": bool, "integer": int, "number": (int, float)}.get(node["type"], str)
    values = tuple(node.get("enum") or ())
    return DeclaredValue(name, spec, kind, values[:1] if new and name in _STATES else values)  # type: ignore[arg-type]
