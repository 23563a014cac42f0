"""Identifiers: which thing they belong to, and how they look."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from data_pipeline.importers import samplers
from data_pipeline.importers.examples import examples_in
from data_pipeline.importers.lexicon import noun_en, noun_zh
from data_pipeline.importers.roles import Setting, Slot

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def identifier(
    words: Sequence[str], node: Mapping[str, Any], setting: Setting, make: Callable[[random.Random], Any]
) -> Slot:
    """The identifier that `words` name, drawn by `make`; it belongs to the word before "id", else to the owner."""
    thing = "_".join(words[:-1]) if len(words) > 1 else setting.owner
    noun, chinese = noun_en("_".join(words), setting.owner), noun_zh("_".join(words), "", setting.owner)
    spec = {"t": "ref", "draw": samplers.draw_identifier, "kind": kind_of(setting.group, thing), "make": make}
    return Slot(
        spec,
        (f"with {noun} {{}}", f"({noun} {{}})", f"for {noun} {{}}"),
        (f"{chinese}是{{}}", f"{chinese}为{{}}", f"{chinese} {{}}"),
    )


def identifier_maker(
    words: Sequence[str], node: Mapping[str, Any], text: str, setting: Setting
) -> Callable[[random.Random], Any]:
    """How to draw a textual identifier: by pattern, as a UUID, as its example is built, else as letters and digits."""
    if "pattern" in node:
        return partial(_from_pattern, str(node["pattern"]))
    if node.get("format") == "uuid" or words[-1] in ("uuid", "guid"):
        return partial(_from_pattern, UUID)
    if shape := declared_shape(node):
        return partial(_from_pattern, shape)
    shapes = [e for e in examples_in(text, node) if re.search(r"\d", e) and not re.search(r"\s", e)]
    if shapes:  # as the example is built, with other digits
        return partial(_from_pattern, _shaped(shapes[0]))
    kind = words[-2] if len(words) > 1 else setting.owner
    return partial(_from_pattern, f"{(re.sub('[^a-z]', '', kind) or 'id')[:2].upper()}-[1-9]\\d{{3,4}}")


def whole_identifier(rng: random.Random, low: float | None, high: float | None) -> int:
    """A whole number of four digits or more, where the bounds allow."""
    first = int(max(low if low is not None else 1000, 1000 if high is None else 1))
    return rng.randint(first, int(min(high, first + 90000)) if high is not None else first + 90000)


def declared_shape(node: Mapping[str, Any]) -> str:
    """A pattern for codes built as the schema's first example is; empty: it has none with a digit."""
    found = examples_in("", {key: node[key] for key in ("examples", "example") if key in node})
    return next((_shaped(e) for e in found if re.search(r"\d", e) and not re.search(r"\s", e)), "")


def _shaped(example: str) -> str:
    """A pattern for `example` with other digits."""
    return re.sub(r"\d+", lambda m: f"[1-9]\\d{{{len(m[0]) - 1}}}", re.escape(example))


def _from_pattern(pattern: str, rng: random.Random) -> str:
    return samplers.matching(pattern, rng)


def kind_of(group: str, thing: str) -> str:
    """Name of a kind of identifiers: those of one thing of one server."""
    return f"{samplers.slug(group)}/{samplers.slug(thing)}"
