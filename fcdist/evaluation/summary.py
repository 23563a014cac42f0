"""What results.json says, line by line: the same figures for the terminal table and the HTML report."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from fcdist.evaluation.statistics import PairedTest, Rate, balanced_accuracy, paired_test, right_by_item, wilson

ROWS: tuple[str, ...] = ("base", "base_grammar", "tuned", "tuned_grammar")
ROW_NAMES: Mapping[str, str] = {
    "base": "base",
    "base_grammar": "base + grammar",
    "tuned": "tuned",
    "tuned_grammar": "tuned + grammar",
}
PAIRS: tuple[tuple[str, str], ...] = (
    ("base", "tuned"),
    ("base_grammar", "tuned"),
    ("base_grammar", "tuned_grammar"),
    ("tuned", "tuned_grammar"),
)
MEASURES: Mapping[str, str] = {
    "structure": "well-formed calls",
    "arguments": "right arguments",
    "no_invention": "nothing invented",
    "state": "right calls after the first turn",
    "unseen": "right calls of unseen tools",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of all rows."""

    group: str
    name: str
    cells: Mapping[str, "Cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one row; `counts` is how it reads as right/of."""

    rate: Rate
    counts: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two rows on the items of one set; an empty set name means all items."""

    first: str
    second: str
    set: str
    test: PairedTest


def present_rows(results: Mapping[str, Any]) -> list[str]:
    """Rows that were measured, the four known ones first."""
    rows = results.get("rows") or {}
    return [name for name in ROWS if rows.get(name)] + [n for n in rows if n not in ROWS and rows[n]]


def row_name(row: str) -> str:
    """How a row is written for people."""
    return ROW_NAMES.get(row, row)


def lines(results: Mapping[str, Any]) -> list[Line]:
    """Every measured figure, held-out suite first, then BFCL by category; figures no row has are left out."""
    rows = {name: results["rows"][name] for name in present_rows(results)}
    found = [_line("suite", "trigger, balanced (call, no call)", {n: _balanced(_measures(r)) for n, r in rows.items()})]
    for key, name in MEASURES.items():
        found.append(_line("suite", name, {n: _count(_measures(r).get(key)) for n, r in rows.items()}))
    for category in _categories(rows.values()):
        entries = {n: (r.get("bfcl") or {}).get(category) or {} for n, r in rows.items()}
        found.append(_line("bfcl", category, {n: _count(entry) for n, entry in entries.items()}))
        for key, name in (("strict_no_trigger", "strictly no call"), ("schema_valid", "fits the schema")):
            found.append(_line("bfcl", f"{category}: {name}", {n: _count(e.get(key)) for n, e in entries.items()}))
    return [line for line in found if line.cells]


def comparisons(results: Mapping[str, Any]) -> list[Comparison]:
    """Paired tests of the rows worth comparing, over all items and within each set."""
    rows = results.get("rows") or {}
    found: list[Comparison] = []
    for first, second in PAIRS:
        if not (rows.get(first) and rows.get(second)):
            continue
        items = rows[first].get("items") or [], rows[second].get("items") or []
        sets = list(dict.fromkeys(str(item.get("set", "")) for item in items[0]))
        for name in ["", *sets] if len(sets) > 1 else [""]:
            one, other = (right_by_item(i for i in side if not name or i.get("set") == name) for side in items)
            test = paired_test(one, other)
            if test.num_items:
                found.append(Comparison(first, second, name, test))
    return found


def retention(results: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """Loss on general chat before and after tuning, and its relative change; None where not measured."""
    rows = results.get("rows") or {}
    before, after = (_first_loss(rows, names) for names in (ROWS[:2], ROWS[2:]))
    change = after / before - 1 if before and after is not None else None
    return before, after, change


def summary_table(results: Mapping[str, Any]) -> Table:
    """The rows as columns of a terminal table: percent, counts and, where there is room, the interval."""
    names = present_rows(results)
    table = Table(
        title=f"{results.get('model', 'model')}, protocol {results.get('protocol', '?')}", title_justify="left"
    )
    table.add_column("", no_wrap=True)
    for name in names:
        table.add_column(row_name(name), justify="right")
    group = ""
    for line in lines(results):
        if line.name.endswith("fits the schema") and not any(n.endswith("grammar") for n in line.cells):
            continue
        if line.group != group:
            group = line.group
            table.add_section()
        label = f"BFCL {line.name}" if line.group == "bfcl" else line.name
        table.add_row(label, *(cell_text(line.cells.get(name)) for name in names))
    losses = {n: (results["rows"][n].get("retention") or {}).get("loss") for n in names}
    if any(loss is not None for loss in losses.values()):
        table.add_section()
        table.add_row("general chat, loss", *("" if losses[n] is None else f"{losses[n]:.3f}" for n in names))
    if (change := retention(results)[2]) is not None:
        table.caption = f"Retention: loss on general chat changed by {change:+.1%}."
    return table


def cell_text(cell: Cell | None) -> str:
    """`43 % (26/60)`; empty where not measured."""
    if cell is None or math.isnan(cell.rate.value):
        return ""
    return f"{100 * cell.rate.value:.0f} % ({cell.counts})"


def _line(group: str, name: str, cells: Mapping[str, Cell | None]) -> Line:
    return Line(group, name, {row: cell for row, cell in cells.items() if cell is not None})


def _count(value: object) -> Cell | None:
    if not isinstance(value, Mapping) or not value.get("of"):
        return None
    right, of = int(value.get("right", 0)), int(value["of"])
    return Cell(wilson(right, of), f"{right}/{of}")


def _balanced(measures: Mapping[str, Any]) -> Cell | None:
    call, no_call = measures.get("trigger_call"), measures.get("trigger_no_call")
    if not (call and no_call and call.get("of") and no_call.get("of")):
        return None
    rate = balanced_accuracy(call["right"], call["of"], no_call["right"], no_call["of"])
    return Cell(rate, f"{call['right']}/{call['of']}, {no_call['right']}/{no_call['of']}")


def _measures(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return (row.get("suite") or {}).get("measures") or {}


def _categories(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return iter(dict.fromkeys(category for row in rows for category in row.get("bfcl") or {}))


def _first_loss(rows: Mapping[str, Any], names: Sequence[str]) -> float | None:
    for name in names:
        loss = ((rows.get(name) or {}).get("retention") or {}).get("loss")
        if loss is not None:
            return float(loss)
    return None
