"""One HTML file that shows a run: results, paired tests, training curves, data counts, and the answers themselves."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fcdist.errors import EvaluationError, ShardError
from fcdist.evaluation.charts import bar_chart, line_chart
from fcdist.evaluation.report_assets import FILTERS, SCRIPT, STYLE
from fcdist.evaluation.statistics import wilson
from fcdist.evaluation.summary import (
    Cell,
    comparisons,
    lines,
    present_rows,
    retention,
    row_name,
    summary_table,
)
from fcdist.files import write_text
from fcdist.schema.shards import read_records

__all__ = ["build_report", "read_results", "render_page", "summary_table", "write_report"]

RETENTION_LIMIT = 0.05
"""Relative rise of the loss on general chat up to which a run counts as not having forgotten."""
MAX_ITEMS = 2000
MAX_TEXT = 8000
"""Characters of one text shown; tool prompts can be far longer than anyone reads."""
CURVES: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("loss", ("loss", "validation/loss"), False),
    ("loss by kind", ("loss/thought", "loss/call", "loss/answer", "loss/end"), False),
    ("learning rate", ("lr",), False),
    ("gradient norm", ("grad_norm",), True),
    ("tokens per second", ("tokens_per_s",), False),
    ("share of tokens that are targets", ("targets_fraction",), False),
)
PROMPT_KEYS = ("prompt", "context", "question", "messages")
EXPECTED_KEYS = ("expected", "ground_truth", "target")
TEXT_KEYS = ("text", "answer", "answered", "output")
WHY_KEYS = ("reason", "why", "error", "detail")


def read_results(path: Path) -> dict[str, Any]:
    """Results as `evaluate` wrote them. Raises EvaluationError where there are none or they are not readable."""
    if not path.is_file():
        raise EvaluationError(f"{path}: no results yet; run `fcdist evaluate` for this run first")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise EvaluationError(f"{path}: not JSON ({error}); run `fcdist evaluate` again") from None
    if not isinstance(results, dict) or not isinstance(results.get("rows"), dict):
        raise EvaluationError(f"{path}: has no 'rows'; it is not a result of `fcdist evaluate`")
    return results


def build_report(evaluation: Path, log: Path, store: Path) -> Path:
    """Write `report.html` beside results.json.

    Args:
        evaluation: folder with results.json and answers-<row>.jsonl (these optional).
        log: folder with metrics.jsonl (optional).
        store: token store, whose store.json counts the data (optional).

    Returns:
        Path of the page.

    Raises:
        EvaluationError: no readable results.
    """
    results = read_results(evaluation / "results.json")
    metrics = _records(log / "metrics.jsonl")
    counts = _data_facts(store)
    answers = {row: _records(evaluation / f"answers-{row}.jsonl") for row in present_rows(results)}
    path = evaluation / "report.html"
    write_text(path, render_page(results, metrics, counts, answers))
    return path


def write_report(results_path: Path) -> Path:
    """`build_report` of the run folder that holds `results_path` as RUN/evaluation/results.json."""
    run_dir = results_path.parent.parent
    return build_report(results_path.parent, run_dir / "log", run_dir / "store")


def render_page(
    results: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Any] | None,
    answers: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """The page as text, with no reference to anything outside itself."""
    title = f"{results.get('model') or 'model'}: function calling before and after tuning"
    about = [f"protocol {results.get('protocol', 'unknown')}", str(results.get("created", ""))]
    sections = [
        f"<h1>{escape(title)}</h1><p class='soft'>{escape(' · '.join(a for a in about if a))}</p>",
        _section("Results", _results_table(results)),
        _section("Did tuning help?", _comparison_table(results)),
        _section("BFCL by category", _bfcl_chart(results)),
        _section("Held-out tools by category", _suite_chart(results)),
        _section("When the model calls", _trigger_tables(results)),
        _section("General chat kept", _retention_cards(results)),
        _section("Training", _curves(metrics)),
        _section("Data", _data_tables(counts)),
        _section("Settings", _settings(results)),
        _section("Answers", _answers(results, answers)),
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
        f"content='width=device-width,initial-scale=1'><title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(sections)}</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _missing(text: str) -> str:
    return f'<p class="missing">{escape(text)}</p>'


def _table(head: Sequence[str], body: Iterable[str]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class='scroll'><table><thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _results_table(results: Mapping[str, Any]) -> str:
    names = present_rows(results)
    if not names:
        return _missing("No row was measured.")
    titles = {"suite": "Held-out tools, never seen in training", "bfcl": "Berkeley Function-Calling Leaderboard (BFCL)"}
    body, group = [], ""
    for line in lines(results):
        if line.group != group:
            group = line.group
            body.append(f"<tr class='group'><td colspan='{len(names) + 1}'>{escape(titles[group])}</td></tr>")
        parent, _, detail = line.name.rpartition(": ")
        label = f"<td class='sub'>{escape(detail)}</td>" if parent else f"<td>{escape(line.name)}</td>"
        body.append(f"<tr>{label}{''.join(_cell(line.cells.get(name)) for name in names)}</tr>")
    absent = [row_name(r) for r in ("base", "base_grammar", "tuned", "tuned_grammar") if r not in names]
    note = "<p class='soft'>Percent right, right/of, and the 95 % interval (Wilson; balanced accuracy: MOVER).</p>"
    late = _missing(f"Not measured in this run: {', '.join(absent)}.") if absent else ""
    return _table(["", *map(row_name, names)], body) + note + late


def _cell(cell: Cell | None) -> str:
    if cell is None or math.isnan(cell.rate.value):
        return "<td>–</td>"
    rate = cell.rate
    counts = f"<small>{escape(cell.counts)} · {100 * rate.low:.0f}–{100 * rate.high:.0f} %</small>"
    return f"<td>{100 * rate.value:.0f} %{counts}</td>"


def _comparison_table(results: Mapping[str, Any]) -> str:
    found = comparisons(results)
    if not found:
        return _missing("No two rows with the same items were measured, so nothing can be compared in pairs.")
    body = []
    for one in found:
        gain = one.test.gained - one.test.lost
        sure = one.test.p_value < 0.05
        tone = "" if not sure else " class='good'" if gain > 0 else " class='bad'"
        words = "no clear difference" if not sure else "better" if gain > 0 else "worse"
        if not one.set:
            pair = f"{row_name(one.second)} against {row_name(one.first)}"
            body.append(f"<tr class='group'><td colspan='6'>{escape(pair)}</td></tr>")
        body.append(
            f"<tr><td>{escape(one.set or 'all items')}</td><td>{one.test.num_items}</td><td>{one.test.gained}</td>"
            f"<td>{one.test.lost}</td><td>{_p(one.test.p_value)}</td><td{tone}>{words}</td></tr>"
        )
    note = (
        "<p class='soft'>McNemar's exact test on the same items: gained are right only after, lost only before. "
        "A forced grammar alone already answers much of what an untuned model cannot, so the second row of "
        "each kind is the fair base line. Sets are tested side by side without correction.</p>"
    )
    return _table(["", "items", "gained", "lost", "p", ""], body) + note


def _p(value: float) -> str:
    return "&lt; 0.001" if value < 0.001 else f"{value:.3f}"


def _bfcl_chart(results: Mapping[str, Any]) -> str:
    groups = {
        line.name: {row_name(name): cell.rate for name, cell in line.cells.items()}
        for line in lines(results)
        if line.group == "bfcl" and ": " not in line.name
    }
    if not groups:
        return _missing("BFCL was not run (evaluate.bfcl_categories).")
    chart = bar_chart(groups, [row_name(name) for name in present_rows(results)], "BFCL, share right by category")
    return f"<div class='wide'>{chart}</div>"


def _suite_chart(results: Mapping[str, Any]) -> str:
    groups: dict[str, dict[str, Any]] = {}
    for name in present_rows(results):
        for category, count in ((results["rows"][name].get("suite") or {}).get("by_category") or {}).items():
            if count.get("of"):
                groups.setdefault(category, {})[row_name(name)] = wilson(count["right"], count["of"])
    if not groups:
        return _missing("The held-out suite was not run.")
    chart = bar_chart(groups, [row_name(name) for name in present_rows(results)], "Held-out suite, share right")
    return f"<div class='wide'>{chart}</div>"


def _trigger_tables(results: Mapping[str, Any]) -> str:
    cards = []
    for name in present_rows(results):
        measures = (results["rows"][name].get("suite") or {}).get("measures") or {}
        call, no_call = measures.get("trigger_call") or {}, measures.get("trigger_no_call") or {}
        if not (call.get("of") or no_call.get("of")):
            continue
        cells = [
            ("should call", call.get("right", 0), call.get("of", 0) - call.get("right", 0)),
            ("should not", no_call.get("of", 0) - no_call.get("right", 0), no_call.get("right", 0)),
        ]
        body = [f"<tr><td>{label}</td><td>{yes}</td><td>{no}</td></tr>" for label, yes, no in cells]
        table = _table(["", "called", "did not"], body)
        cards.append(f"<div class='confusion'><h3>{escape(row_name(name))}</h3>{table}</div>")
    return f"<div class='grid'>{''.join(cards)}</div>" if cards else _missing("Triggers were not measured.")


def _retention_cards(results: Mapping[str, Any]) -> str:
    before, after, change = retention(results)
    if before is None and after is None:
        return _missing("The loss on general chat was not measured: no held-out general chat (evaluate.retention).")
    cards = [
        f"<div class='card'><small>{label}</small><div class='big'>{value:.4f}</div></div>"
        for label, value in (("loss before", before), ("loss after", after))
        if value is not None
    ]
    if change is not None:
        tone = "good" if change <= RETENTION_LIMIT else "bad"
        words = "within" if change <= RETENTION_LIMIT else "beyond"
        cards.append(
            f"<div class='card'><small>change ({words} {RETENTION_LIMIT:.0%})</small>"
            f"<div class='big {tone}'>{change:+.2%}</div></div>"
        )
    note = (
        "<p class='soft'>Mean cross-entropy per target token on general chat kept out of training; lower is better.</p>"
    )
    return f"<div class='grid'>{''.join(cards)}</div>{note}"


def _curves(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return _missing("No metrics.jsonl in the run's log folder: this run has not been trained.")
    charts = []
    for title, keys, log_y in CURVES:
        series = {key: [(r["step"], r[key]) for r in metrics if "step" in r and _is_number(r.get(key))] for key in keys}
        series = {key.removeprefix("loss/"): points for key, points in series.items() if points}
        if series:
            charts.append(f"<div><h3>{escape(title)}</h3>{line_chart(series, title, log_y)}</div>")
    return f"<div class='grid'>{''.join(charts)}</div>" if charts else _missing("The metrics hold no curve.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _data_tables(counts: Mapping[str, Any] | None) -> str:
    if not counts:
        return _missing("No store.json in the token store: counts of the training data are not known here.")
    return _nested(counts)


def _nested(value: Mapping[str, Any], depth: int = 3) -> str:
    """Any report as tables: plain values together, mappings of mappings with columns, the rest under a heading."""
    plain = {key: item for key, item in value.items() if not isinstance(item, Mapping)}
    parts = [_table(["", ""], (f"<tr><td>{escape(str(k))}</td><td>{_plain(v)}</td></tr>" for k, v in plain.items()))]
    parts = parts if plain else []
    for key, item in value.items():
        if not isinstance(item, Mapping) or not item:
            continue
        rows = list(item.values())
        if all(isinstance(r, Mapping) and not any(isinstance(x, Mapping) for x in r.values()) for r in rows):
            columns = list(dict.fromkeys(column for r in rows for column in r))
            body = [
                f"<tr><td>{escape(str(name))}</td>"
                + "".join(f"<td>{_plain(r.get(c, ''))}</td>" for c in columns)
                + "</tr>"
                for name, r in item.items()
            ]
            parts.append(f"<h{depth}>{escape(str(key))}</h{depth}>{_table(['', *map(str, columns)], body)}")
        else:
            parts.append(f"<h{depth}>{escape(str(key))}</h{depth}>{_nested(item, min(depth + 1, 6))}")
    return "".join(parts)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(_shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 300))


def _settings(results: Mapping[str, Any]) -> str:
    rows = {row_name(n): results["rows"][n] for n in present_rows(results)}
    facts = {n: {k: r[k] for k in ("seconds", "tokens") if _is_number(r.get(k))} for n, r in rows.items()}
    cost = _nested({"cost of each row": {n: f for n, f in facts.items() if f}}) if any(facts.values()) else ""
    settings = results.get("settings")
    return cost + (_nested({"evaluation": settings}) if isinstance(settings, Mapping) else _missing("Not recorded."))


def _answers(results: Mapping[str, Any], answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    rows = [row for row in present_rows(results) if answers.get(row)]
    if not rows:
        return _missing("No answers-<row>.jsonl beside results.json, so there are no answers to read.")
    items: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for record in answers[row]:
            key = str(record.get("set", "")), str(record.get("id", ""))
            item = items.setdefault(key, {"set": key[0], "id": key[1], "prompt": "", "expected": "", "answers": {}})
            item["prompt"] = item["prompt"] or _first_text(record, PROMPT_KEYS)
            item["expected"] = item["expected"] or _first_text(record, EXPECTED_KEYS)
            given = {"text": _first_text(record, TEXT_KEYS), "why": _first_text(record, WHY_KEYS)}
            item["answers"][row] = {**given, "right": record.get("right")}
    shown = list(items.values())[:MAX_ITEMS]
    cut = _missing(f"The first {MAX_ITEMS} of {len(items)} items are here.") if len(items) > MAX_ITEMS else ""
    # "<" cannot stay: text that the model wrote could end the script element
    data = json.dumps({"rows": rows, "items": shown}, ensure_ascii=False).replace("<", "\\u003c")
    return f"{cut}{FILTERS}<script type='application/json' id='answers'>{data}</script><script>{SCRIPT}</script>"


def _first_text(record: Mapping[str, Any], keys: Sequence[str]) -> str:
    for key in keys:
        value = record.get(key)
        if value is not None and value != "":
            return _shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1))
    return ""


def _shorten(text: str, limit: int = MAX_TEXT) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}\n… {len(text) - limit} characters left out …\n{text[-limit // 2 :]}"


def _records(path: Path) -> list[dict[str, Any]]:
    """Records of a JSON-lines file as far as it can be read: a run that was killed may leave half a line."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        try:
            found.extend(record for _, record in read_records(path) if isinstance(record, dict))
        except ShardError:
            return found
    return found


def _data_facts(store: Path) -> dict[str, Any] | None:
    """Counts that `prepare` left in the store, without what only programs read; None where there are none."""
    for name in ("report.json", "store.json"):
        try:
            value = json.loads((store / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if key not in ("files", "fingerprint", "version")}
    return None
