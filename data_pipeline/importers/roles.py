"""What a name tells of values: the table of roles, and slots made from it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from data_pipeline.importers import samplers
from data_pipeline.slots import Context, Spec, Value, sample
from data_pipeline.tables import read_table

COINS = frozenset(
    (
        "coin",
        "coins",
        "crypto",
        "blockchain",
        "chain",
        "swap",
        "wallet",
        "dex",
        "defi",
        "ethereum",
        "solana",
        "nft",
        "bitcoin",
        "starknet",
        "sui",
        "onchain",
        "erc",
        "blockscout",
        "evm",
    )
)
"""Words of tools beside which a token is a coin and an address is a hash."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a parameter's words may refer to."""

    group: str
    owner: str
    """The thing the tool is about, singular: whose `id` an unnamed id is."""
    pools: Mapping[str, Any]
    about: frozenset[str] = frozenset()
    """Words of the tool's name and server and of what it says of itself."""
    named: frozenset[str] = frozenset()
    """Words of the tool's name alone."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A spec and the ways its value enters a request; no way: as an attribute."""

    spec: dict[str, Any]
    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def _roles() -> tuple[tuple[re.Pattern[str], Mapping[str, Any]], ...]:
    table = read_table(Path(__file__).parent / "roles.yaml")
    return tuple((re.compile(entry["name"]), entry) for entry in table)


def role_of(snake: str, kind: str) -> Mapping[str, Any] | None:
    """The first entry of `roles.yaml` that fits the whole name and the JSON type."""
    for pattern, role in _roles():
        if kind in role["types"] and pattern.fullmatch(snake):
            return role
    return None


def phrases_of(role: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """English and Chinese phrases of a role."""
    return tuple(role.get("en", ())), tuple(role.get("zh", ()))


def slot_of_role(role: Mapping[str, Any], node: Mapping[str, Any], words: Sequence[str] = ("",)) -> Slot:
    """The slot of a role; `words` of the parameter's name may say a direction ("from_…", "to_…")."""
    slot = _drawn_by_role(role, node, words)
    directed = len(words) > 1 and words[0] in (*_FROM, *_TO)
    if (part := role.get("part")) is not None and not directed:
        slot.spec["part"] = part
    elif list(words) in (["name"], ["title"]):
        slot.spec["part"] = "title"
    return slot


_FROM = ("from", "source", "origin")
_TO = ("to", "target", "destination", "dest")


def _drawn_by_role(role: Mapping[str, Any], node: Mapping[str, Any], words: Sequence[str]) -> Slot:
    kind, (en, zh) = role["kind"], phrases_of(role)
    if len(words) > 1 and words[0] in _FROM:
        en, zh = ("from {}",), ("从{}",)
    elif len(words) > 1 and words[0] in _TO:
        en, zh = ("to {}",), ("到{}",)
    elif len(words) > 1 and words[-1] not in ("name", "query", "term") and kind in ("pool", "fixed"):
        en, zh = (), ()
    if kind == "name":
        return Slot({"t": "pool", "draw": samplers.draw_name}, *_named(words))
    longest = node.get("maxLength", 10**6)
    if kind == "pool":
        return Slot(drawn({"t": "pool", "pool": role["pool"]}, "pool"), en, zh)
    if kind in ("email", "phone", "person", "company"):
        return Slot(drawn({"t": kind}, kind), en, zh)
    if kind == "url":
        return Slot(
            {"t": "url", "draw": samplers.draw_url}, en or url_phrases(("url",))[0], zh or url_phrases(("url",))[1]
        )
    if kind == "fixed":
        values = [str(value) for value in role["values"]]
        fitting = [value for value in values if len(value) <= longest] or values
        return replace(one_of(fitting), en=en, zh=zh)
    if kind == "code":
        return Slot({"t": "quoted", "draw": samplers.draw_code, "values": tuple(role["values"])}, en, zh)
    if kind == "pattern":
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": role["pattern"]}, en, zh)
    return Slot({"t": "quoted", "draw": samplers.draw_quoted, "pool": role["pool"]}, en, zh)


def _named(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (("called {}", "named {}"), ("名称是{}", "叫{}")) if list(words) in (["name"], ["title"]) else ((), ())


def url_phrases(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How the only address of a request is said; others are attributes."""
    return (
        (("at {}", "from {}", ": {}"), ("网址是{}", "：{}"))
        if words[-1] in ("url", "link", "uri") and len(words) == 1
        else ((), ())
    )


def one_of(values: Sequence[str]) -> Slot:
    """A text out of a few known ones."""
    return Slot({"t": "pool", "draw": samplers.draw_choice, "values": tuple((v, v, v) for v in values)})


def drawn(spec: dict[str, Any], kind: str) -> dict[str, Any]:
    """A slot of the built-in types, drawn by the built-in sampler."""
    return {**spec, "t": kind, "draw": partial(_builtin, {**spec})}


def _builtin(inner: Spec, spec: Spec, context: Context) -> Value:
    return sample(inner, context)
