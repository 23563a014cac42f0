"""Names of tools and parameters: synonyms, order of words, prefixes, abbreviations, case, and made-up ones."""

import random
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

from data_pipeline.catalogue import BaseTool
from data_pipeline.transforms.habits import Habits, Style
from data_pipeline.transforms.shapes import Field, Shape
from data_pipeline.transforms.words import invented_name, words

_OPAQUE_TOOLS = 0.45
"""Share of made-up names among the tools of an opaque set."""
_OPAQUE_PARAMETERS = 0.35
"""Share of made-up parameter names in a tool with a made-up name."""


def tool_name(base: BaseTool, style: Style, rng: random.Random, taken: Collection[str]) -> tuple[str, bool]:
    """A name that no other tool of the set has, and whether it is made up."""
    habits = style.habits
    opaque = habits is not None and habits.opaque and rng.random() < _OPAQUE_TOOLS
    make = _made_up if opaque else _speaking
    name = make(base, style, rng)
    for _ in range(20):
        if name not in taken:
            break
        name = make(base, style, rng)
    endings = iter(range(2, len(taken) + 3))
    first = name
    while name in taken:
        name = f"{first}{next(endings)}"
    return name, opaque


def _made_up(base: BaseTool, style: Style, rng: random.Random) -> str:
    assert style.habits is not None
    name = invented_name(rng, style.habits.held_out)
    if rng.random() < 0.3:
        name += f"_{invented_name(rng, style.habits.held_out, 2)}"
    return _prefixed(name, style, style.habits)


def _speaking(base: BaseTool, style: Style, rng: random.Random) -> str:
    name = rng.choice(base.names).replace(".", "_")
    verb, rest = _parted(name)
    computes = base.act == "compute" and verb in ("get", "find")
    act = "calculation" if computes else words()["nominal"].get(verb, "")
    if rest and (computes or rng.random() < 0.5):
        verb = rng.choice(words()["verbs"]["calculate" if computes else verb])
        name = f"{verb}_{rest}"
    habits = style.habits
    if habits is None:
        if style.case == "dotted":
            return _dotted(base, *_parted(name), name, rng)
        return cased(name, style.case)
    if rest and habits.order == "noun" and verb in words()["noun_first"]:
        name = f"{rest}_{verb}"
    elif rest and habits.order == "nominal" and act:
        name = f"{rest}_{act}"
    if habits.short:
        name = _abbreviated(name)
    name += habits.suffix
    if style.case == "dotted" and not habits.vendor:
        return f"{base.domain}.{name}"
    return _prefixed(name, style, habits)


def _parted(name: str) -> tuple[str, str]:
    """Verb and rest, where the verb is known and what follows is its object; the rest is empty otherwise."""
    verb, _, rest = name.partition("_")
    known = verb in words()["verbs"] and rest and rest.partition("_")[0] not in words()["prepositions"]
    return (verb, rest) if known else (name, "")


def _dotted(base: BaseTool, verb: str, rest: str, name: str, rng: random.Random) -> str:
    if rest and rng.random() < 0.5:
        head, _, tail = rest.partition("_")
        return f"{head}.{verb}{'_' + tail if tail else ''}"
    return f"{base.domain}.{name}"


def _prefixed(name: str, style: Style, habits: Habits) -> str:
    if not habits.vendor:
        return cased(name, style.case)
    if style.case == "dotted" or habits.vendor_place == "namespace":
        return f"{habits.vendor}.{cased(name, 'snake' if style.case == 'dotted' else style.case)}"
    return cased(f"{habits.vendor}_{name}", style.case)


def _abbreviated(name: str) -> str:
    short: Mapping[str, str] = words()["short"]
    return "_".join(short.get(word, word) for word in name.split("_"))


@lru_cache(maxsize=8192)
def cased(name: str, case: str) -> str:
    """A snake-case name in another case."""
    if case in ("snake", "dotted"):
        return name
    parts = [word for word in name.split("_") if word]
    if case == "kebab":
        return "-".join(parts)
    first = parts[0] if case == "camel" else parts[0][:1].upper() + parts[0][1:]
    return first + "".join(word[:1].upper() + word[1:] for word in parts[1:])


def renames_results(style: Style) -> bool:
    """Whether keys of results are written otherwise than in the catalogue."""
    return style.habits is not None and style.habits.camel_results


def result_key(key: str, style: Style) -> str:
    """How a key of results is written; some keys, such as "error", are the same everywhere."""
    return cased(key, "camel") if renames_results(style) else key


def parameter_names(shape: Shape, style: Style, rng: random.Random, opaque: bool) -> dict[str, str]:
    """Key → public name, all different."""
    out: dict[str, str] = {}
    for key, field in shape.items():
        name = _parameter_name(field, style, rng, opaque)
        if name in out.values():
            case = style.habits.param_case if style.habits else "snake"
            name = cased(re.sub(r"\W+", "_", key), case)
        while name in out.values():
            name += "2"
        out[key] = name
    return out


def _parameter_name(field: Field, style: Style, rng: random.Random, opaque: bool) -> str:
    habits = style.habits
    if habits is None:
        weights = [4, *[2] * (len(field.names) - 1)]
        name = rng.choices(field.names, weights)[0]
        return cased(name, "camel" if style.case in ("camel", "pascal") else "snake")
    if opaque and rng.random() < _OPAQUE_PARAMETERS:
        return invented_name(rng, habits.held_out, 2)
    name = rng.choice(_candidates(field.names, field.noun))
    endings: Sequence[str] = words()["unit_names"].get(field.unit, ())
    if endings and rng.random() < 0.5 and not _says_unit(name, field.unit):
        name = f"{name}_{rng.choice(endings)}"
    if habits.short:
        name = _abbreviated(name)
    return cased(name, habits.param_case)


@lru_cache(maxsize=4096)
def _candidates(names: tuple[str, ...], noun: str) -> tuple[str, ...]:
    """True names of a parameter: the catalogue's, and its noun (number of guests → number_of_guests)."""
    noun = noun.lower()
    kept = tuple(name for name in names if not _repeats(name)) or names
    if not re.fullmatch(r"[a-z][a-z \-]{2,26}", noun) or noun.startswith("whether") or " of the " in noun:
        return kept
    return (*kept, re.sub(r"[ \-]+", "_", noun))


def _repeats(name: str) -> bool:
    """final_value_value."""
    return any(first == second for first, second in pairwise(name.split("_")))


def _says_unit(name: str, unit: str) -> bool:
    known = words()["unit_names"].get(unit, ())
    return any(part in known for part in name.split("_"))


def without_units(names: Sequence[str], noun: str) -> tuple[str, ...]:
    """Names that stay true in another unit; made from the noun where none does."""
    units = set(words()["unit_words"])
    kept = tuple(name for name in names if not units & set(name.split("_")))
    return kept or (re.sub(r"\W+", "_", noun.lower()).strip("_"),)


def names_a_unit(noun: str) -> bool:
    """Whether a noun itself tells the unit ("portion in grams"), so that another unit would contradict it."""
    return bool(set(words()["unit_words"]) & set(re.findall(r"[a-z0-9]+", noun.lower())))
