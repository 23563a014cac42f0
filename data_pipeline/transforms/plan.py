"""Which transforms turn a base tool into the one a set offers; each is drawn from the habits of the set's vendor."""

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_pipeline.catalogue import BaseTool, Param
from data_pipeline.transforms.fields import Pools, base_field, meanings
from data_pipeline.transforms.forms import FACTORS, ClockLayout, Coded, DateLayout, Flag, Listed, Rewrite, Scaled
from data_pipeline.transforms.habits import Habits, Style
from data_pipeline.transforms.naming import cased, names_a_unit, parameter_names, without_units
from data_pipeline.transforms.parts import ClockParts, DateParts, Moment, MoneyAmount, PersonName, Split
from data_pipeline.transforms.shapes import Field, Shape
from data_pipeline.transforms.structure import Demand, Flatten, Nest, Relax, Rename, RenameInner, Transform
from data_pipeline.transforms.words import half, words

_USUAL = {"quantity": 1, "tickets": 1, "questions": 5, "dice": 1, "servings": 2, "guests": 2, "players": 2, "nights": 1}
"""Required counts → a default that nobody would wonder at."""
_LISTS = ("strs", "people", "emails", "ints", "nums")


@dataclass(frozen=True, slots=True)
class Vendor:
    """What the transform of one parameter may depend on."""

    habits: Habits
    rng: random.Random
    pools: Pools
    keep_nested: bool
    """Lists and objects of the catalogue stay lists and objects."""
    num_sums: int
    """Parameters that are sums of money."""


@dataclass(slots=True)
class Plan:
    """A tool's parameters on their way from the catalogue to the public."""

    shape: Shape
    paths: dict[str, str]
    """Base parameter → where its (first) value stands."""
    transforms: list[Transform]
    changed: dict[str, Param]
    """Parameters that are required, or no longer required, other than in the catalogue."""

    def add(self, transform: Transform) -> None:
        """Do a transform after those before it."""
        self.shape = transform.shape(self.shape)
        self.paths = {key: transform.moved(path) for key, path in self.paths.items()}
        self.transforms.append(transform)


def plan_face(
    base: BaseTool,
    params: Sequence[Param],
    style: Style,
    rng: random.Random,
    pools: Pools,
    opaque: bool = False,
    linked: Collection[str] = (),
    keep_nested: bool = False,
) -> Plan:
    """Draw the transforms of a tool.

    Args:
        base: the tool.
        params: the parameters it offers, in order.
        style: habits of the set.
        rng: source of choices.
        pools: values of text slots.
        opaque: names of parameters may be made up.
        linked: parameters that stay at the top and take the value as it is.
        keep_nested: lists and objects of the catalogue stay lists and objects.
    """
    shape = {param.key: base_field(param, pools, style.chinese) for param in params}
    plan = Plan(shape, {key: key for key in shape}, [], {})
    habits = style.habits
    if habits is not None:
        _change_required(plan, base, params, habits, rng)
        vendor = Vendor(habits, rng, pools, keep_nested, sum(param.kind == "money" for param in params))
        for param in params:
            if param.key not in linked:
                _rewrite(plan, param, vendor)
        _join_moment(plan, params, habits)
        _take_apart(plan, habits, rng, keep_nested)
        _rename_inside(plan, habits, rng)
    plan.add(Rename(parameter_names(plan.shape, style, rng, opaque)))
    if habits is not None:
        _nest(plan, base, habits, {plan.paths[key] for key in linked if key in plan.paths}, rng)
    return plan


def _change_required(plan: Plan, base: BaseTool, params: Sequence[Param], habits: Habits, rng: random.Random) -> None:
    for param in params:
        if not param.required:
            optional = param.kind in ("bool", "ref") or "to" in param.spec  # there is no size of a kettle
            if habits.demand and not optional and rng.random() < habits.demand:
                plan.add(Demand(param.key))
                plan.changed[param.key] = replace(param, required=True, default=None)
            continue
        default = _USUAL.get(param.key) if param.kind == "int" else None
        others = sum(p.required and p.key not in plan.changed for p in params) > 1
        usual = default is not None and others and param.key not in base.spoken and base.act != "control"
        if usual and rng.random() < habits.relax:
            plan.add(Relax(param.key, default))
            plan.changed[param.key] = replace(param, required=False, default=default)


Make = Callable[[Param, Field, Vendor], Transform | None]
"""The transform that a vendor's habits make of a parameter; None where they leave it as it is."""


def _date(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind != "date" or not vendor.habits.date or vendor.habits.moment:
        return None
    if vendor.habits.date != "parts":
        return Rewrite(param.key, DateLayout(vendor.habits.date))
    return Split(param.key, DateParts({part: _part(part, field, "integer") for part in ("year", "month", "day")}))


def _time(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind != "time" or not vendor.habits.clock or vendor.habits.moment:
        return None
    if vendor.habits.clock != "parts":
        return Rewrite(param.key, ClockLayout(vendor.habits.clock))
    return Split(param.key, ClockParts({part: _part(part, field, "integer") for part in ("hour", "minute")}))


def _person(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind != "person" or not vendor.habits.people:
        return None
    return Split(param.key, PersonName(_part("given", field, "string"), _part("family", field, "string")))


def _money(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind != "money" or not vendor.habits.money:
        return None
    if vendor.habits.money == "cents":
        return Rewrite(param.key, Scaled("currency units", "cents"))
    if vendor.num_sums > 1:
        return None  # nobody gives the currency of every one of several sums
    currency = _part("currency", field, "string")
    schema = {"type": "string", "enum": ["USD", "EUR", "GBP", "CNY", "JPY"]}
    return Split(param.key, MoneyAmount(replace(currency, schema=schema, required=False, default="USD")))


def _unit(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if not field.unit:
        return None
    wanted = vendor.habits.fraction if field.unit == "percent" else vendor.habits.scaled
    targets = [to for unit, to in FACTORS if unit == field.unit]
    if not wanted or not targets or field.schema.get("type") not in ("integer", "number"):
        return None
    if names_a_unit(field.noun) or field.noun == "age":
        return None
    return Rewrite(param.key, _Renamed(field.unit, vendor.rng.choice(targets)))


class _Renamed(Scaled):
    """Another unit makes names that tell the old one untrue."""

    def field(self, field: Field) -> Field:
        scaled = Scaled.field(self, field)
        return replace(scaled, names=without_units(field.names, field.noun))


def _list(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind not in _LISTS or not vendor.habits.separator or vendor.keep_nested:
        return None
    members = vendor.pools.get(str(param.spec.get("pool")), ())
    if any(vendor.habits.separator in text for pair in members for text in pair):
        return None
    return Rewrite(param.key, Listed(vendor.habits.separator, numeric=param.kind in ("ints", "nums")))


def _flag(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    return Rewrite(param.key, Flag(*vendor.habits.flags)) if param.kind == "bool" and vendor.habits.flags else None


def _enum(param: Param, field: Field, vendor: Vendor) -> Transform | None:
    if param.kind != "enum" or not vendor.habits.enums:
        return None
    told = meanings(param)
    if all(value.isupper() for value in told):
        return None  # currencies and sizes are codes already
    codes = [_code(value, number, param, vendor.habits.enums) for number, value in enumerate(told)]
    explained = vendor.habits.enums in ("numbered", "lettered")
    if codes == list(told):
        return None
    return Rewrite(param.key, _Explained(tuple(zip(told, codes, strict=True)), explained, told))


@dataclass(frozen=True, slots=True)
class _Explained(Coded):
    """An enum whose members' words go into the description."""

    told: Mapping[Any, tuple[str, str]]

    def field(self, field: Field) -> Field:
        return Coded.field(self, replace(field, meanings=self.told))


def _code(value: str, number: int, param: Param, layout: str) -> Any:
    plain = re.sub(r"\W+", "_", value)
    if layout == "numbered":
        return number + 1
    if layout == "lettered":
        return chr(ord("A") + number)
    if layout == "title":
        return plain.replace("_", " ").title().replace(" ", "")
    return f"{param.names[0]}_{plain}".upper() if layout == "prefixed" else plain.upper()


_REWRITES: tuple[Make, ...] = (_date, _time, _person, _money, _unit, _list, _flag, _enum)


def _rewrite(plan: Plan, param: Param, vendor: Vendor) -> None:
    for make in _REWRITES:
        if transform := make(param, plan.shape[param.key], vendor):
            return plan.add(transform)


def _part(part: str, field: Field, kind: str) -> Field:
    """The field of one part of a value, named after the whole where the part alone could be anybody's."""
    known = words()["parts"][part]
    if field.noun in ("name", "date", "time"):
        noun, zh, names = known["noun"], known["zh"], known["names"]
    else:
        noun, zh = f"{known['noun']} of the {field.noun}", f"{field.noun_zh}的{known['zh']}"
        stem = re.sub(r"\W+", "_", field.noun.lower()).strip("_")
        names = [f"{stem}_{name}" for name in known["names"]]
    return Field("part", noun, zh, tuple(names), {"type": kind})


def _join_moment(plan: Plan, params: Sequence[Param], habits: Habits) -> None:
    days = [p.key for p in params if p.kind == "date"]
    clocks = [p.key for p in params if p.kind == "time"]
    if not habits.moment or len(days) != 1 or len(clocks) != 1 or not plan.shape[days[0]].required:
        return
    day, always = plan.shape[days[0]], plan.shape[clocks[0]].required
    layout = f"YYYY-MM-DD{habits.moment}HH:MM" + ("" if always else " or YYYY-MM-DD")
    moment = replace(
        day,
        kind="group",
        noun=f"{day.noun} and time",
        noun_zh=f"{day.noun_zh}和时间",
        names=("date_time", "datetime", "scheduled_at", "when"),
        layout=layout,
        examples=(f"2024-05-31{habits.moment}09:30",),
    )
    plan.add(Moment(days[0], clocks[0], moment, habits.moment))


def _take_apart(plan: Plan, habits: Habits, rng: random.Random, keep_nested: bool) -> None:
    """Objects become several parameters: those that splitting made, and the catalogue's own."""
    for key, field in list(plan.shape.items()):
        if not field.fields or field.many:
            continue
        if field.kind == "group":
            if habits.people == "object" and "given" in field.fields:
                continue
            if rng.random() < 0.3 and not {"given", "amount"} & field.fields.keys():
                continue
        elif not habits.flat or keep_nested or any(not inner.noun for inner in field.fields.values()):
            continue
        place = rng.randrange(4)
        plan.add(Flatten(key, {name: _outer(name, inner, field, place) for name, inner in field.fields.items()}))


def _outer(name: str, inner: Field, outer: Field, place: int) -> Field:
    """A field of an object as a parameter of its own; `place` keeps low and high, start and end together."""
    if outer.kind == "group":
        return inner if name != "amount" else replace(inner, names=outer.names, noun=outer.noun, noun_zh=outer.noun_zh)
    stem = re.sub(r"_(range|info|filter|details)$", "", outer.names[0])
    own = inner.names[place % len(inner.names)]
    public = f"{own}_{stem}" if name in ("min", "max") and own not in ("from", "to") else f"{stem}_{own}"
    noun = f"{inner.noun} ({outer.noun})"
    return replace(inner, noun=noun, noun_zh=f"{inner.noun_zh}（{outer.noun_zh}）", names=(public,))


def _rename_inside(plan: Plan, habits: Habits, rng: random.Random) -> None:
    for key, field in list(plan.shape.items()):
        if not field.fields:
            continue
        names: dict[str, str] = {}
        place = rng.randrange(4)
        for name, inner in field.fields.items():
            new = inner.names[place % len(inner.names)] if habits.inner else name
            if field.kind == "group":  # inside an object the whole need not be said again
                new = rng.choice(words()["parts"][name]["names"])
            new = cased(new, habits.param_case)
            names[name] = new if new not in names.values() else cased(name, habits.param_case)
        if len(set(names.values())) == len(names):
            plan.add(RenameInner(key, names))


def _nest(plan: Plan, base: BaseTool, habits: Habits, on_top: Collection[str], rng: random.Random) -> None:
    if habits.nest == "pairs":
        for into, pair in words()["pairs"].items():
            members = [plan.paths.get(key, "") for key in pair["members"]]
            free = all(member in plan.shape and member not in on_top for member in members)
            if free and len(set(members)) == len(members):
                _group(plan, members, into, pair["noun"], habits)
                return
    optional = [key for key, field in plan.shape.items() if not field.required and key not in on_top]
    if habits.nest in ("options", "pairs") and len(optional) > 1:
        groups = half("groups", habits.held_out)
        searches = base.act == "search"
        fitting = [name for name in groups if searches or name not in words()["search_groups"]]
        into = rng.choice(fitting)
        _group(plan, optional, into, groups[into], habits)
    elif habits.nest == "all" and len(plan.shape) > 1 and not on_top:
        wholes = half("wholes", habits.held_out)
        into = rng.choice(list(wholes))
        _group(plan, list(plan.shape), into, wholes[into], habits)


def _group(plan: Plan, members: Sequence[str], into: str, noun: Sequence[str], habits: Habits) -> None:
    name = cased(into, habits.param_case)
    if name not in plan.shape:
        plan.add(Nest(tuple(members), name, Field("group", noun[0], noun[1], (into,), {})))
