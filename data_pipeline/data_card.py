"""The data card: what is in a data set, where it came from and what was left out, as Markdown and as one HTML page.

The page needs no network: style, script and samples are inside it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from data_pipeline.data_card_facts import LENGTHS, CardFacts
from data_pipeline.diversity import Diversity
from data_pipeline.inputs import Input
from data_pipeline.shard_worker import flatten_yields
from fcdist.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
MARKDOWN, PAGE = "data_card.md", "data_card.html"


def card_values(
    name: str,
    facts: CardFacts,
    diversity: Mapping[str, Diversity],
    removed: Mapping[str, int],
    inputs: Sequence[Input],
    merge: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the two templates show.

    Args:
        name: title of the data set.
        facts: counts and samples.
        diversity: figures by language.
        removed: reason → conversations the merge took out.
        inputs: where the conversations came from.
        merge: settings and outcome: `read`, `tool_signatures`, `references`, `licence`, `exports`, `settings`.
    """
    yields: Counter[tuple[str, str, str]] = Counter()
    for source in inputs:
        yields += flatten_yields(source.manifest.get("yields", {}))
    categories = sorted({category for category, _ in facts.cells})
    languages = sorted({language for _, language in facts.cells})
    kept = facts.sides.total()
    return {
        "name": name,
        "kept": kept,
        "read": merge["read"],
        "sides": facts.sides,
        "categories": categories,
        "languages": languages,
        "cells": facts.cells,
        "category_totals": _totals(facts.cells, 0),
        "language_totals": _totals(facts.cells, 1),
        "thought_share": _share(facts.thoughts[True], facts.thoughts.total()),
        "sources": [(source, licence, n) for (source, licence), n in sorted(facts.sources.items())],
        "inputs": [_input_facts(source) for source in inputs],
        "usage": _usage(inputs),
        "yields": _yield_rows(yields),
        "reasons": _reason_rows(yields),
        "removed": sorted(removed.items(), key=lambda item: (-item[1], item[0])),
        "diversity": diversity,
        "tool_signatures": merge["tool_signatures"],
        "references": merge["references"],
        "licence": merge["licence"],
        "exports": merge["exports"],
        "settings": merge["settings"],
        "histograms": facts.histograms(),
        "measures": LENGTHS,
        "samples": facts.shown(),
    }


def write_card(folder: Path, values: Mapping[str, Any]) -> list[Path]:
    """Write `data_card.md` and `data_card.html` into `folder`; returns their paths."""
    return [_write(folder / name, _environment(name == PAGE), values) for name in (MARKDOWN, PAGE)]


def _write(path: Path, environment: Environment, values: Mapping[str, Any]) -> Path:
    write_text(path, environment.get_template(f"{path.name}.jinja").render(values))
    return path


def _environment(html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    environment.filters["figure"] = lambda value: "–" if value is None else f"{value:.2f}"
    environment.filters["share_of"] = _share
    environment.filters["embedded"] = _embedded
    return environment


def _embedded(value: Any) -> Markup:
    """JSON that stands inside a script element: nothing in a sample may end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False)
    # Markup keeps Jinja from escaping it: the three characters below are what could leave the element.
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _totals(cells: Mapping[tuple[str, str], int], place: int) -> Counter[str]:
    totals: Counter[str] = Counter()
    for key, count in cells.items():
        totals[key[place]] += count
    return totals


def _usage(inputs: Sequence[Input]) -> Counter[str]:
    """Answers, tokens and, where the teacher knows its prices, `cost` of language models, over all inputs."""
    usage: Counter[str] = Counter()
    for source in inputs:
        for kind in ("usage", "judge_usage"):
            usage.update({key: n for key, n in source.manifest.get(kind, {}).items() if isinstance(n, int | float)})
    return usage


def _input_facts(source: Input) -> dict[str, Any]:
    settings = source.manifest.get("settings", {})
    return {
        "path": str(source.path),
        "shards": len(source.shards),
        "teacher": settings.get("generate.teacher", ""),
        "llm": settings.get("generate.llm", "") if settings.get("generate.teacher") == "openai" else "",
        "seed": settings.get("seed", ""),
        "version": settings.get("fcdist", ""),
        "config_hash": str(source.manifest.get("config_hash", ""))[:12],
    }


def _yield_rows(yields: Counter[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Teacher × category: drafts, kept, and how many each gate refused."""
    rows = []
    for teacher, category in sorted({(teacher, category) for teacher, category, _ in yields}):
        outcomes = {o: n for (t, c, o), n in yields.items() if (t, c) == (teacher, category)}
        kept = outcomes.pop("kept", 0)
        drafts = kept + sum(outcomes.values())
        gates: Counter[str] = Counter()
        for reason, count in outcomes.items():
            gates[gate_of(reason)] += count
        rows.append(
            {
                "teacher": teacher,
                "category": category,
                "drafts": drafts,
                "kept": kept,
                "share": kept / drafts,
                "gates": gates,
            }
        )
    return rows


def _reason_rows(yields: Counter[tuple[str, str, str]]) -> list[tuple[str, str, int]]:
    reasons: Counter[str] = Counter()
    for (_, _, outcome), count in yields.items():
        if outcome != "kept":
            reasons[outcome] += count
    return [(gate_of(reason), reason.partition(": ")[2] or reason, n) for reason, n in reasons.most_common()]


def gate_of(reason: str) -> str:
    """Gate of a reason (`gate: reason`); what a teacher refused itself counts as `teacher`."""
    gate, colon, _ = reason.partition(": ")
    return gate if colon else "teacher"
