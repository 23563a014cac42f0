"""English requests for imported tools: templates of `sentences.py`, and how values that they do not name are added."""

import random
import re
from collections.abc import Iterator, Sequence

from data_pipeline.catalogue import Param
from data_pipeline.importers.purposes import Purpose
from data_pipeline.slots import Value, join_words
from data_pipeline.wording import phrase


def lines(purpose: Purpose, params: Sequence[Param], own: str) -> Iterator[str]:
    """Imperatives and questions; `own` is the parameter that identifies the very thing the tool is about, or empty."""
    if purpose.operation is not None:
        told = purpose.operation.en.format(*(f"{{{p.key}}}" for p in params))
        yield f"calculate {told}"
        yield f"work out {told}"
        yield f"!what is {told}?"
        yield f"!what's {told}?"
        yield f"{purpose.heads_en[0]}{{...}}"
        return
    parts = {str(p.spec["part"]): f"{{{p.key}}}" for p in params if "part" in p.spec}
    for head in purpose.heads_en:
        if head.endswith("?"):
            yield f"!{head[0].upper()}{head[1:-1]}{{...}}?"
        else:
            yield f"{head}{{...}}"
    thing = purpose.thing_en
    if own and purpose.act in ("get", "cancel", "update", "control"):
        verb = purpose.heads_en[0].split(" ")[0]
        yield f"{verb} {thing} {{{own}}}{{...}}"
        yield f"{verb} the {thing} {{{own}}}{{...}}"
    if "code" in parts and purpose.act in ("control", "compute"):
        yield f"{'run' if purpose.act == 'control' else 'evaluate'} {parts['code']}{{...}}"
    if "title" in parts and purpose.act == "create":
        yield f"make {'an' if thing[0] in 'aeiou' else 'a'} {thing} called {parts['title']}{{...}}"
    if "query" in parts and purpose.act == "search" and not purpose.server_only:
        yield f"find {thing} about {parts['query']}{{...}}"


def rest(before: str, left: Sequence[tuple[Param, Value]], rng: random.Random) -> str:
    """`before` and the values that it does not say: "… with host api.example.net and user anna"."""
    clauses: list[str] = []
    pairs: list[tuple[str, str]] = []
    for param, value in left:
        told = any(param.noun not in words for words in param.phrases_en)
        if told and not (param.kind == "quoted" and any(clause.startswith(":") for clause in clauses)):
            clauses.append(phrase(param, value, "en", rng))
        else:
            pairs.append((param.noun, value.text))
    clauses.sort(key=lambda clause: (clause.startswith(":"), clause.startswith(_ENDS)))
    text = " ".join([before, *(clause for clause in clauses if not clause.startswith(":"))])
    if pairs:
        text += _pairs(pairs, rng)
    return text + "".join(clause for clause in clauses if clause.startswith(":"))


_ENDS = ("until ", "through ", "by ", "to ")
"""First words of phrases that say an end, which comes after the beginning."""


def _pairs(pairs: Sequence[tuple[str, str]], rng: random.Random) -> str:
    """Parameters and values; several lists or sentences side by side are kept apart by semicolons."""
    tangled = any(re.search(r", | and | = |: ", value) for _, value in pairs)
    if tangled and len(pairs) > 1:
        return f" ({'; '.join(f'{noun}: {value}' for noun, value in pairs)})"
    style = rng.choices(("with", "bracket", "as", "comma"), (45, 20, 20 if len(pairs) < 4 and not tangled else 0, 15))[
        0
    ]
    if style == "bracket":
        return f" ({', '.join(f'{noun}: {value}' for noun, value in pairs)})"
    if style == "as":
        told = [f"{value} as the {noun}" for noun, value in pairs]
        return f", using {join_words(told, 'en')}"
    if style == "comma":
        return f", {', '.join(f'{noun} {value}' for noun, value in pairs)}"
    return f" with {join_words([f'{noun} {value}' for noun, value in pairs], 'en')}"
