"""An imported tool as the teacher sees it: its words, its slots, its own face and its simulator."""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from data_pipeline.catalogue import BaseTool, Param
from data_pipeline.importers import requests_en, requests_zh
from data_pipeline.importers.answers import tell
from data_pipeline.importers.arithmetic import Operation
from data_pipeline.importers.declared import DeclaredList, DeclaredObject, Draw, declared
from data_pipeline.importers.identifiers import kind_of
from data_pipeline.importers.parameters import parameter
from data_pipeline.importers.purposes import Purpose, purpose, things_of
from data_pipeline.importers.raw import RawTool, RefusedError, plain, words_of
from data_pipeline.importers.results import checked, guessed
from data_pipeline.importers.roles import Setting, drawn
from data_pipeline.importers.samplers import slug
from data_pipeline.importers.schemas import inline
from data_pipeline.slots import Context, Value
from data_pipeline.world import World
from fcdist.errors import SchemaError
from fcdist.schema.checks import check_arguments, check_tools
from fcdist.schema.conversation import Tool

MAX_REQUIRED = 8
"""Required leaves that one request can still say."""
_TRIALS = 3
_RANGES = (
    ("start", "end"),
    ("from", "to"),
    ("min", "max"),
    ("checkin", "checkout"),
    ("begin", "end"),
    ("low", "high"),
    ("since", "until"),
    ("after", "before"),
    ("departure", "return"),
)


@dataclass(frozen=True, slots=True)
class ImportedTool:
    """What stands behind a `BaseTool` that was read from a user's file (`catalogue.Backing`)."""

    tool: Tool
    """The public face, as declared."""
    names: Mapping[str, str]
    """Key → public name of every parameter that can be said."""
    subject: frozenset[str]
    things: tuple[str, ...]
    act: str
    noun: tuple[str, str]
    ranges: tuple[tuple[str, str], ...]
    """Pairs of keys whose first value may not exceed the second."""
    returns: Draw | None
    wrapped: str = ""
    """Key under which a declared result that is no object stands."""
    issues: str = ""
    """Path in the result of the identifier that it issues; empty: none."""
    kind: str = ""
    make: Any = None
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Language → templates of requests."""
    operation: Operation | None = None

    def execute(
        self, params: Sequence[Param], arguments: Mapping[str, Any], world: World, context: Context
    ) -> dict[str, Any]:
        """Run on arguments by key; errors are typed, identifiers exist only if the world gave them out."""
        for param in params:
            if param.kind != "ref" or param.key not in arguments:
                continue
            kind, value = param.spec["kind"], arguments[param.key]
            if not world.knows(kind, value):
                return {"error": "not_found", self.names[param.key]: value}
            if self.act == "cancel":
                world.forget(kind, value)
        given = {plain(self.names[key]): value for key, value in arguments.items()}
        known = next(
            (
                world.records.get(f"{p.spec['kind']}/{arguments[p.key]}")
                for p in params
                if p.kind == "ref" and p.key in arguments
            ),
            None,
        )
        result: dict[str, Any]
        if self.wrapped == "result" and (sure := checked(self.things, given, self.operation)) is not None:
            result = sure
        elif self.returns is not None:
            earlier = {plain(name): item for name, item in (known or {}).items()}
            found = self.returns(context, {**earlier, **given})
            if isinstance(found, bool) and self.act not in ("get", "search", "analyze"):
                found = True  # what was ordered is done
            result = {self.wrapped: found} if self.wrapped else found
        else:
            result = guessed(self.act, self.things, context, given, self.operation)
            if known and self.act == "get":
                told = {name: value for name, value in known.items() if not isinstance(value, list | dict)}
                result = {**told, **{name: value for name, value in result.items() if name not in told}}
        if self.issues:
            named = [arguments[p.key] for p in params if p.key in arguments and p.spec.get("kind") == self.kind]
            value = named[0] if named else world.issue(self.kind, make=self.make)
            result = _placed(result, self.issues, value)
            world.records[f"{self.kind}/{value}"] = {self.names[key]: item for key, item in arguments.items()}
        return result

    def answer(self, result: Mapping[str, Any], language: str, rng: random.Random) -> str:
        """A sentence about the result."""
        issued = None if "error" in result or not self.issues else self.issued(result)
        return tell(self.noun, self.act, result, issued, language, rng)

    def requests(self, language: str) -> tuple[str, ...]:
        """Templates of its requests."""
        return self.lines[language]

    def rest(self, before: str, left: Sequence[tuple[Param, Value]], language: str, rng: random.Random) -> str:
        """`before` and the values that it does not say."""
        return requests_zh.rest(before, left, rng) if language == "zh" else requests_en.rest(before, left, rng)

    def issued(self, result: Mapping[str, Any]) -> Any:
        """The identifier that `result` gives out."""
        value: Any = result
        for step in self.issues.split("."):
            value = value[step]
        return value

    def ordered(self, values: dict[str, Value]) -> dict[str, Value]:
        """`values` with the ends of ranges swapped where the first is the greater."""
        for low, high in self.ranges:
            if low in values and high in values and values[low].arg > values[high].arg:
                values[low], values[high] = values[high], values[low]
        return values


def _placed(result: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    inner = result.get(head)
    if rest and isinstance(inner, Mapping):
        return {**result, head: _placed(inner, rest, value)}
    return (
        {head: value, **{key: item for key, item in result.items() if key != head}}
        if head not in result
        else {**result, head: value}
    )


@dataclass(slots=True)
class Draft:
    """A tool on its way in; identifiers are linked once all tools of its server are known."""

    raw: RawTool
    tool: Tool
    meaning: Purpose
    params: tuple[Param, ...]
    names: dict[str, str]
    owner: str
    setting: Setting
    things: list[str] = field(default_factory=list)


def draft(raw: RawTool, pools: Mapping[str, Any], rng: random.Random) -> Draft:
    """Check a tool and put it into words.

    Raises:
        RefusedError: it cannot be served.
    """
    tool = Tool(raw.name, raw.description, raw.parameters)
    schema = inline(raw.parameters)
    try:
        check_tools([tool])
    except SchemaError as error:
        reason = "invalid_name" if "name must match" in str(error) else "invalid_schema"
        raise RefusedError(reason, str(error)) from None
    properties = schema.get("properties") or {}
    needed = schema.get("required") or []
    if missing := [name for name in needed if name not in properties]:
        raise RefusedError("required_undeclared", f"{missing[0]!r} is required but not among its properties")
    if any(key in schema for key in ("anyOf", "oneOf", "allOf", "patternProperties")) and not properties:
        raise RefusedError(
            "composed_arguments", "its arguments are alternatives at the top level; declare `properties`"
        )
    things = things_of(raw)
    owner = _singular(things[-1])
    about = frozenset(words_of(f"{raw.name} {raw.group} {raw.description}"))
    setting = Setting(raw.group, owner, pools, about, frozenset(words_of(raw.name)))
    params: list[Param] = []
    for number, (name, inner) in enumerate(properties.items()):
        key = re.sub(r"\W", "_", name) if re.fullmatch(r"\w[\w\-. ]*", name) else f"p{number}"
        key = key if key not in [p.key for p in params] else f"{key}_{number}"
        try:
            param = parameter(key, name, inner, name in needed, setting)
            _try(param, inner, setting, rng)
        except RefusedError as error:
            if name in needed:
                raise RefusedError(error.reason, f"required parameter {name}: {error.detail}") from None
            continue
        params.append(param)
    if len(needed) > MAX_REQUIRED:
        raise RefusedError("too_many_required", f"{len(needed)} required parameters do not fit into one request")
    params.sort(key=lambda p: list(properties).index(p.names[0]))
    speakable = {p.key: (p.names[0], p.required and p.kind not in _NOT_INLINE) for p in params}
    numeric = all(p.kind in _NUMBERS for p in params)
    meaning = purpose(raw, things, speakable, len(params) if numeric else 0)
    if meaning.operation is not None:
        params = [_operand(p, number, len(params), meaning.operation) for number, p in enumerate(params)]
    params = _near_one_another(params)
    names = {p.key: p.names[0] for p in params}
    _prove(tool, params, names, setting, rng)
    return Draft(raw, tool, meaning, tuple(params), names, owner, setting, things)


def _near_one_another(params: Sequence[Param]) -> list[Param]:
    """`params`, the cities among them in one region."""
    cities = [p.key for p in params if p.kind == "pool" and p.spec.get("pool") == "city"]
    if len(cities) < 2:
        return list(params)
    spec = {"t": "pool", "pool": "city", "near": " ".join(cities)}
    return [replace(p, spec=drawn(spec, "pool")) if p.key in cities else p for p in params]


def _operand(param: Param, number: int, of: int, operation: Operation) -> Param:
    """A number of a sum under the name that people give it, within what people ask for."""
    noun, chinese = ("first number", "第一个数") if number == 0 else ("second number", "第二个数")
    spec = {**param.spec, "lo": max(param.spec["lo"], 2), "hi": min(param.spec["hi"], operation.most), "plain": True}
    if spec["lo"] > spec["hi"]:
        spec = dict(param.spec)
    return replace(param, spec=spec, noun=noun if of > 1 else "number", noun_zh=chinese if of > 1 else "数字")


_NUMBERS = ("int", "num", "count")
_NOT_INLINE = ("object", "objects", "bool", "quoted", "ref", "enum", "count")


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _context(rng: random.Random, language: str, setting: Setting, today: date | None) -> Context:
    world = World(rng.randrange(2**32), setting.pools, language)
    return Context(rng, language, today, setting.pools, world.issue)


def _try(param: Param, schema: Any, setting: Setting, rng: random.Random) -> None:
    """Draw a few values and hold them against the parameter's own schema. Raises RefusedError."""
    tool = Tool("trial", "", {"type": "object", "properties": {"value": schema}})
    for number in range(_TRIALS):
        context = _context(rng, "zh" if number % 2 else "en", setting, None)
        try:
            value = param.spec["draw"](param.spec, context)
            check_arguments(tool, _json({"value": value.arg}))
        except (SchemaError, ValueError, IndexError, KeyError, re.error) as error:
            text = " ".join(str(error).split())[:160]
            raise RefusedError("no_fitting_value", f"no drawn value fits its schema: {text}") from None


def _prove(tool: Tool, params: Sequence[Param], names: Mapping[str, str], setting: Setting, rng: random.Random) -> None:
    """Hold whole argument objects against the whole schema. Raises RefusedError."""
    for number in range(_TRIALS):
        context = _context(rng, "zh" if number % 2 else "en", setting, date(2025, 6, 4))
        chosen = [p for p in params if p.required or number]
        arguments = {names[p.key]: p.spec["draw"](p.spec, context).arg for p in chosen}
        try:
            check_arguments(tool, _json(arguments))
        except SchemaError as error:
            raise RefusedError(
                "no_fitting_value", f"its arguments together break its schema: {str(error)[:160]}"
            ) from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def finish(drafts: Iterable[Draft]) -> list[BaseTool]:
    """Link the tools of each server by the identifiers they issue and take."""
    drafts = list(drafts)
    takers = {p.spec["kind"]: p for d in drafts for p in d.params if p.kind == "ref"}
    return [_finished(d, takers) for d in drafts]


def _finished(item: Draft, takers: Mapping[str, Param]) -> BaseTool:
    raw, meaning = item.raw, item.meaning
    backing = ImportedTool(
        tool=item.tool,
        names=item.names,
        subject=meaning.subject,
        things=tuple(item.things),
        act=meaning.act,
        noun=_said(item),
        ranges=tuple(_ranges(item.params)),
        returns=None,
        lines=_lines(item),
        operation=meaning.operation,
    )
    if raw.returns is not None:
        try:
            returns = declared("result", inline(raw.returns), item.setting, new=meaning.act in ("create", "book"))
            wrapped = (
                ""
                if isinstance(returns, DeclaredObject)
                else "results"
                if isinstance(returns, DeclaredList)
                else "result"
            )
            backing = replace(backing, returns=returns, wrapped=wrapped)
        except RefusedError:
            pass  # an undeclared or odd result is made up by the verb instead
    kind = kind_of(raw.group, item.owner)
    own = {p.spec["kind"] for p in item.params if p.kind == "ref" and p.required}
    out: dict[str, Any] = {}
    if meaning.act in ("create", "book") and kind in takers and kind not in own:
        path = _issued_path(backing, item.owner)
        if path:
            backing = replace(backing, issues=path, kind=kind, make=takers[kind].spec["make"])
            out = {path: f"id {item.owner[:2].upper()} {kind}"}
    return BaseTool(
        id=f"{slug(raw.group)}/{raw.name}",
        domain=raw.group,
        act=meaning.act if meaning.act != "analyze" else "get",
        names=(raw.name,),
        heads_en=meaning.heads_en,
        heads_zh=meaning.heads_zh,
        params=item.params,
        out=out,
        say=None,
        noun=_said(item),
        group=f"{slug(raw.group)}/{raw.name}",
        backing=backing,
    )


def _lines(item: Draft) -> dict[str, tuple[str, ...]]:
    own = kind_of(item.raw.group, item.owner)
    key = next((p.key for p in item.params if p.kind == "ref" and p.spec["kind"] == own), "")
    return {
        "en": tuple(dict.fromkeys(requests_en.lines(item.meaning, item.params, key))),
        "zh": tuple(dict.fromkeys(requests_zh.lines(item.meaning, item.params, key))),
    }


def _said(item: Draft) -> tuple[str, str]:
    """The thing a tool is about, without digits."""
    texts = item.meaning.thing_en, item.meaning.thing_zh
    english, chinese = (re.sub(r"\s*\d+\s*", " ", text).strip() for text in texts)
    return english or "result", chinese or "结果"


def _issued_path(backing: ImportedTool, owner: str) -> str:
    """Where a creation's result holds the new identifier; made up where no result is declared."""
    if backing.returns is None:
        return f"{owner}_id"
    fields = getattr(backing.returns, "fields", ())
    wanted = ("id", f"{owner}id", f"{owner}uuid", "uuid")
    return next((key for key, _ in fields if plain(key) in wanted), "")


def _ranges(params: Sequence[Param]) -> Iterable[tuple[str, str]]:
    by_words = {tuple(words_of(p.names[0])): p for p in params}
    for words, param in by_words.items():
        for low, high in _RANGES:
            if low not in words:
                continue
            other = by_words.get(tuple(high if word == low else word for word in words))
            if other is not None and other.kind == param.kind and param.kind in ("int", "num", "count", "date", "time"):
                yield param.key, other.key
