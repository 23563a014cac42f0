"""From `generate.catalogue` to tools: reads, checks, names what was refused, and remembers which bytes it read."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.catalogue import NESTED, BaseTool, Catalogue, load_catalogue
from data_pipeline.importers.raw import RawTool, Refusal, RefusedError
from data_pipeline.importers.readers import files_of, read_entry
from data_pipeline.importers.tools import Draft, draft, finish
from fcdist.config.seeds import derive_seed
from fcdist.config.types import GenerateConfig
from fcdist.errors import ConfigError
from fcdist.schema.shards import write_json

BUILTIN = "builtin"
"""Entry of `generate.catalogue` that stands for the tools of data_pipeline/catalogue."""
REPORT = "tools.json"
_SHOWN = 5
"""Refused tools that are named on the screen; the report has all."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The tools of `generate.catalogue` and what was left out."""

    catalogue: Catalogue
    accepted: tuple[tuple[str, str], ...]
    """(place in the files, tool id) of each imported tool."""
    refused: tuple[Refusal, ...]

    def report(self) -> dict[str, Any]:
        """Counts and lists, as written beside the shards."""
        reasons = Counter(refusal.reason for refusal in self.refused)
        return {
            "accepted": len(self.accepted),
            "refused": len(self.refused),
            "reasons": dict(reasons.most_common()),
            "tools": [{"where": where, "id": tool_id} for where, tool_id in self.accepted],
            "refusals": [
                {"where": r.where, "name": r.name, "reason": r.reason, "detail": r.detail} for r in self.refused
            ],
        }


@lru_cache(maxsize=4)
def import_catalogue(entries: tuple[str, ...]) -> Imported:
    """Read the tools that `entries` name.

    Raises:
        ConfigError: an entry is missing or unreadable, or no tool of all of them can be used.
    """
    built_in = load_catalogue()
    drafts: list[Draft] = []
    refused: list[Refusal] = []
    taken: dict[tuple[str, str], str] = {}
    for item in (item for entry in entries if entry != BUILTIN for item in read_entry(entry)):
        if isinstance(item, Refusal):
            refused.append(item)
            continue
        try:
            drafts.append(_accept(item, taken, built_in))
        except RefusedError as error:
            refused.append(Refusal(item.where, item.name, error.reason, error.detail))
    tools = tuple(finish(drafts))
    if not tools and BUILTIN not in entries:
        raise ConfigError(f"generate.catalogue={list(entries)}: no usable tool. {_first_refusals(refused)}")
    offered = (*built_in.tools, *tools) if BUILTIN in entries else tools
    accepted = tuple((d.raw.where, tool.id) for d, tool in zip(drafts, tools, strict=True))
    return Imported(Catalogue(offered, built_in.pools), accepted, tuple(refused))


def _accept(raw: RawTool, taken: dict[tuple[str, str], str], built_in: Catalogue) -> Draft:
    if (first := taken.get((raw.group, raw.name))) is not None:
        raise RefusedError("duplicate_name", f"{first} has this name already; rename one of them")
    taken[raw.group, raw.name] = raw.where
    return draft(raw, built_in.pools, random.Random(derive_seed(0, "import", raw.group, raw.name)))


def _first_refusals(refused: Sequence[Refusal]) -> str:
    if not refused:
        return "The files hold none."
    told = "; ".join(f"{r.where} ({r.name}): {r.reason}, {r.detail}" for r in refused[:3])
    more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
    return f"Refused: {told}{more}"


def catalogue_digest(entries: Sequence[str]) -> dict[str, str]:
    """sha256 of every file that `entries` name, so that data of changed tools never mix."""
    files = [path for entry in entries if entry != BUILTIN for path in files_of(entry)]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def describe_import(config: GenerateConfig, folder: Path) -> list[str]:
    """Write `tools.json` into `folder` and return what to tell the user. Raises ConfigError as `import_catalogue`."""
    imported = import_catalogue(config.catalogue)
    _, lacking = servable_shares(config.shares, split_tools(imported.catalogue, config))
    write_json(folder / REPORT, {**imported.report(), "categories_left_out": lacking})
    reasons = ", ".join(f"{reason} {n}" for reason, n in imported.report()["reasons"].items())
    lines = [
        f"tools: {len(imported.accepted)} accepted, {len(imported.refused)} refused"
        + (f" ({reasons}); each with its reason in {folder / REPORT}" if reasons else "")
    ]
    lines += [f"  left out: {r.name} ({r.where}): {r.reason}, {r.detail}" for r in imported.refused[:_SHOWN]]
    lines += [f"category {key} is left out, its share goes to the others: {why}" for key, why in lacking.items()]
    return lines


def split_tools(catalogue: Catalogue, config: GenerateConfig) -> list[BaseTool]:
    """Tools of `generate.split`. Raises ConfigError for unknown domains, or if no tool is left."""
    known = catalogue.domains()
    # conf/generate holds out families of the built-in tools; beside a user's own tools they are just not there.
    absent = load_catalogue().domains() if config.catalogue else ()
    if unknown := [domain for domain in config.held_out_domains if domain not in (*known, *absent)]:
        shown = ", ".join(known[:40]) + (f", and {len(known) - 40} more" if len(known) > 40 else "")
        raise ConfigError(f"generate.held_out_domains has unknown {unknown[0]!r}; known: {shown}")
    held_out = config.split == "held_out"
    tools = [tool for tool in catalogue.tools if (tool.domain in config.held_out_domains) == held_out]
    if not tools:
        raise ConfigError(
            f"generate.split={config.split} leaves no domain; generate.held_out_domains={config.held_out_domains}; "
            f"these tools have {len(known)}: {', '.join(known[:10])}"
        )
    return tools


def servable_shares(shares: Mapping[str, float], tools: Sequence[BaseTool]) -> tuple[dict[str, float], dict[str, str]]:
    """Shares of the categories that `tools` can serve, and why the others cannot be.

    Returns:
        Shares that add up to 1 (the others' part is spread in proportion), and category → what is lacking.

    Raises:
        ConfigError: none of the wanted categories can be served.
    """

    def has(kinds: Sequence[str]) -> bool:
        return any(p.kind in kinds for tool in tools for p in tool.params)

    askable = any(p.required and p.kind != "bool" for tool in tools for p in tool.params)
    lacking: dict[str, str] = {}
    if not askable:
        lacking["slot_filling"] = "no tool has a required parameter to ask for"
    if not has(NESTED):
        lacking["nested"] = "no tool has an array or object parameter that can be said"
    if not has(("date",)):
        lacking["date"] = "no tool has a date parameter"
    changeable = any(p.required and p.kind not in ("bool", "ref", "code", *NESTED) for t in tools for p in t.params)
    for category in () if changeable else ("correction", "recovery"):
        lacking[category] = "no tool has a required parameter that could be said in another way"
    if not askable and len(tools) < 2:
        for category in ("parallel", "chain", "follow_up"):
            lacking[category] = "the only tool takes nothing that could differ between two calls"
    wanted = {key: share for key, share in shares.items() if share > 0}
    kept = {key: share for key, share in wanted.items() if key not in lacking}
    if not kept:
        raise ConfigError(
            f"generate.shares asks only for {', '.join(wanted)}, and these tools serve none: "
            + "; ".join(f"{key}: {lacking[key]}" for key in wanted)
        )
    total = sum(kept.values())
    return {key: share / total for key, share in kept.items()}, {k: v for k, v in lacking.items() if k in wanted}
