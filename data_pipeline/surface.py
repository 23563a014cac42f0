"""Gives a base tool a public face: new names, descriptions, order and number of parameters, case style."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.catalogue import BaseTool, Param
from data_pipeline.slots import Value, bare, schema
from fcdist.schema.conversation import Tool

_VERBS: dict[str, tuple[str, ...]] = {
    "get": ("get", "fetch", "retrieve", "lookup", "query", "show", "read"),
    "find": ("find", "search", "discover", "list", "locate"),
    "search": ("search", "find", "list", "query", "browse"),
    "calculate": ("calculate", "compute", "calc", "determine", "evaluate", "solve"),
    "compute": ("compute", "calculate", "determine"),
    "book": ("book", "reserve", "make_booking_for", "schedule"),
    "create": ("create", "add", "make", "new", "register"),
    "add": ("add", "create", "insert"),
    "cancel": ("cancel", "revoke", "drop"),
    "set": ("set", "adjust", "change", "update", "configure"),
    "send": ("send", "deliver", "dispatch"),
    "check": ("check", "verify", "inspect"),
    "delete": ("delete", "remove", "erase"),
    "track": ("track", "trace", "follow"),
    "estimate": ("estimate", "predict", "project"),
    "list": ("list", "show", "get"),
    "convert": ("convert", "change"),
    "schedule": ("schedule", "plan", "arrange"),
    "log": ("log", "record", "save"),
}
_DESCRIPTIONS = (
    "{H}.",
    "{H}.",
    "{H}.",
    "Use this to {h}.",
    "{H} for the user.",
    "Function to {h}.",
    "{H} and return the result.",
    "Lets you {h}.",
    "API to {h}.",
    "{H} based on the given parameters.",
    "{H} with the supplied details.",
)
_PARAM_DESCRIPTIONS = (
    "{N}.",
    "The {n}.",
    "The {n}.",
    "{N}",
    "The {n} to use.",
    "{N} for the request.",
    "Specifies the {n}.",
)
_FORMATS = {
    "date": ("YYYY-MM-DD", "in YYYY-MM-DD format", "ISO 8601, YYYY-MM-DD"),
    "time": ("HH:MM, 24-hour", "in HH:MM format", "24-hour HH:MM"),
}


_SPOKEN = 3
"""Optional parameters of a user's tool that the conversations of one set may fill."""


@dataclass(frozen=True, slots=True)
class Style:
    """Naming habits that all tools of one set share."""

    case: str
    """snake, camel, dotted or pascal."""
    chinese: bool
    """Descriptions in Chinese."""


@dataclass(frozen=True, slots=True)
class ToolInstance:
    """A base tool under its public face."""

    base: BaseTool
    tool: Tool
    names: Mapping[str, str]
    """Base parameter → public name, in the order of the schema."""

    @property
    def params(self) -> tuple[Param, ...]:
        """Base parameters that this face offers."""
        return tuple(p for p in self.base.params if p.key in self.names)

    def arguments(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Public arguments, in the order of the schema."""
        return {public: values[key].arg for key, public in self.names.items() if key in values}

    def spans(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Path in the arguments → the words that carry the leaf."""
        return {
            f"{public}.{path}".rstrip("."): leaf
            for key, public in self.names.items()
            if key in values
            for path, leaf in values[key].leaves.items()
        }


def make_style(rng: random.Random, chinese: bool) -> Style:
    """Draw the habits of a tool set."""
    return Style(
        rng.choices(("snake", "camel", "dotted", "pascal"), (66, 12, 18, 4))[0], chinese and rng.random() < 0.25
    )


def dress(
    base: BaseTool,
    style: Style,
    rng: random.Random,
    pools: Mapping[str, Sequence[tuple[str, str]]],
    taken: Sequence[str] = (),
    keep: Sequence[str] = (),
) -> ToolInstance:
    """A public face for `base`.

    Args:
        base: the tool.
        style: habits of the set.
        rng: source of choices.
        pools: values of text slots, for examples in descriptions.
        taken: names other tools of the set have.
        keep: optional parameters that must stay.
    """
    if base.backing is not None:
        return _own_face(base, rng, keep)
    name = _tool_name(base, style, rng)
    while name in taken:
        name = f"{_tool_name(base, style, rng)}{rng.choice(('_v2', '_info', '_now', '2'))}"
    params = [p for p in base.params if p.required or p.key in keep or rng.random() < 0.75]
    if rng.random() < 0.3:
        rng.shuffle(params)
        params.sort(key=lambda p: not p.required)
    names: dict[str, str] = {}
    for param in params:
        weights = [4, *[2] * (len(param.names) - 1)]
        public = _case(rng.choices(param.names, weights)[0], "camel" if style.case in ("camel", "pascal") else "snake")
        names[param.key] = public if public not in names.values() else _case(param.key, "snake")
    properties: dict[str, Any] = {names[p.key]: _property(p, style, rng, pools) for p in params}
    parameters = {"type": "object", "properties": properties, "required": [names[p.key] for p in params if p.required]}
    return ToolInstance(base, Tool(name, _description(base, style, rng), parameters), names)


def _own_face(base: BaseTool, rng: random.Random, keep: Sequence[str]) -> ToolInstance:
    """A user's tool as declared; of its optional parameters a few are talked about."""
    assert base.backing is not None
    optional = [p.key for p in base.params if not p.required]
    spoken = set(rng.sample(optional, min(len(optional), _SPOKEN)))
    for kind in dict.fromkeys(p.kind for p in base.params if p.key in keep):
        spoken.add(rng.choice([p.key for p in base.params if p.kind == kind and p.key in keep]))
    names = {p.key: base.backing.names[p.key] for p in base.params if p.required or p.key in spoken}
    return ToolInstance(base, base.backing.tool, names)


def _tool_name(base: BaseTool, style: Style, rng: random.Random) -> str:
    name = rng.choice(base.names).replace(".", "_")
    verb, _, rest = name.partition("_")
    if rest and rng.random() < 0.5:
        name = f"{rng.choice(_VERBS.get(verb, (verb,)))}_{rest}"
    if style.case == "dotted":
        if rng.random() < 0.5 and rest and verb in _VERBS:
            head, _, tail = rest.partition("_")
            return f"{head}.{verb}{'_' + tail if tail else ''}"
        return f"{base.domain}.{name}"
    return _case(name, style.case)


def _case(name: str, case: str) -> str:
    if case in ("snake", "dotted"):
        return name
    words = [word for word in name.split("_") if word]
    first = words[0] if case == "camel" else words[0][:1].upper() + words[0][1:]
    return first + "".join(word[:1].upper() + word[1:] for word in words[1:])


def _description(base: BaseTool, style: Style, rng: random.Random) -> str:
    if style.chinese:
        head = rng.choice([h for h in base.heads_zh if "{" not in h])
        return rng.choice(("{}。", "{}", "用于{}。", "{}并返回结果。")).format(head.rstrip("？"))
    heads = [h for h in base.heads_en if not h.endswith("?") and "{" not in h]
    if base.id.startswith("lookup_"):
        heads = [
            f"get the {base.noun[0]}",
            f"look up the {base.noun[0]}",
            f"retrieve the {base.noun[0]}",
            f"find the {base.noun[0]} by name",
        ]
    head = re.sub(r"\b(my|me)\b", lambda m: {"my": "the", "me": "the user"}[m[1]], rng.choice(heads))
    return rng.choice(_DESCRIPTIONS).format(H=head[:1].upper() + head[1:], h=head)


def _example(param: Param, pools: Mapping[str, Sequence[tuple[str, str]]]) -> Sequence[str]:
    if param.kind == "pool":
        return [bare(english) for english, _ in pools[param.spec["pool"]]]
    return {
        "email": ("user@example.com",),
        "year": ("1999", "2015"),
        "person": ("Jane Doe",),
        "date": ("2024-05-31", "2023-11-02"),
    }.get(param.kind, ())


def _property(
    param: Param, style: Style, rng: random.Random, pools: Mapping[str, Sequence[tuple[str, str]]]
) -> dict[str, Any]:
    fragment = schema(param.spec)
    if style.chinese:
        text = param.noun_zh
    else:
        noun = param.noun
        layout = rng.choice(_PARAM_DESCRIPTIONS) if not noun.startswith("whether") else "{N}."
        text = layout.format(N=noun[:1].upper() + noun[1:], n=noun)
    notes: list[str] = []
    if unit := param.spec.get("unitname"):
        notes.append(f"in {unit}")
    if param.kind in _FORMATS:
        notes.append(rng.choice(_FORMATS[param.kind]))
    if param.kind == "pct" and "unitname" not in param.spec:
        notes.append("in percent")
    if not param.required and param.default is not None:
        notes.append(f"default {param.default}" if rng.random() < 0.7 else f"optional, defaults to {param.default}")
    elif not param.required and rng.random() < 0.3:
        notes.append("optional")
    if param.kind == "enum" and rng.random() < 0.3:
        notes.append("one of " + ", ".join(fragment["enum"]))
    elif (example := _example(param, pools)) and rng.random() < 0.25:
        notes.append(f"e.g. {rng.choice(example)}")
    if notes:
        text = f"{text.rstrip('.')} ({', '.join(notes)})" + ("." if text.endswith(".") else "")
    fragment["description"] = text
    if not param.required and param.default is not None and rng.random() < 0.4:
        fragment["default"] = param.default
    return fragment
