"""Words: members of pools, names, quoted texts, enums with synonyms, switches; places and how to reach people."""

from functools import lru_cache
from typing import Any

from data_pipeline.people import AIRPORTS, company, email, invented, person, phone, postcode, street_address
from data_pipeline.places import POOLS as CITIES
from data_pipeline.places import draw_cities, draw_spot
from data_pipeline.slot_types.base import Context, SlotType, Spec, Value, bare, carried, join_words, meant, plain

_MARKS = {"zh": ("“{}”", "“{}”", "「{}」", '"{}"'), "en": ('"{}"', "'{}'", '"{}"')}
_INVENTED = 0.5
"""Share of new names among the values of pools that allow them."""


@lru_cache(maxsize=4096)
def _parse_enum(vals: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    out = []
    for item in vals:
        value, english, chinese = (item.split("|") + [item.split("|")[0]] * 2)[:3]
        out.append((value, tuple(english.split("/")), tuple(chinese.split("/"))))
    return tuple(out)


def enum_values(spec: Spec) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
    """(value, English words, Chinese words) of an enum slot."""
    return _parse_enum(tuple(spec["vals"]))


def _enum(spec: Spec, context: Context) -> Value:
    value, english, chinese = context.rng.choice(enum_values(spec))
    return meant(value, context.rng.choice(chinese if context.chinese else english))


def _enums(spec: Spec, context: Context) -> Value:
    """Several members of an enum."""
    members = enum_values(spec)
    chosen = context.rng.sample(members, min(len(members), context.rng.choice((2, 2, 3))))
    values = [meant(value, context.rng.choice(zh if context.chinese else en)) for value, en, zh in chosen]
    leaves = {str(i): value.leaves[""] for i, value in enumerate(values)}
    return Value([v.arg for v in values], join_words([v.text for v in values], context.language), leaves)


def _bool(spec: Spec, context: Context) -> Value:
    """A wish that is only mentioned where it is true; the phrase around it says it."""
    return carried(True, "", {"text": "", "means": "true"})


def _member(spec: Spec, context: Context) -> str:
    return context.rng.choice(context.pools[spec["pool"]])[context.chinese]


def _cities(spec: Spec, context: Context, number: int) -> list[str]:
    """Cities in the region of those given for the parameters `near`, or at home where the slot says `home`."""
    given = [context.given[key].arg for key in spec.get("near", "").split() if key in context.given]
    companions = [city for arg in given for city in (arg if isinstance(arg, list) else [arg])]
    return draw_cities(spec["pool"], number, context.rng, context.language, companions, spec.get("home", False))


def _pool(spec: Spec, context: Context) -> Value:
    if spec["pool"] in CITIES:
        (city,) = _cities(spec, context, 1)
        return carried(city, city)
    text = _member(spec, context)
    if context.rng.random() < _INVENTED:
        text = invented(spec["pool"], context.rng, context.language) or text
    return carried(bare(text), text, bare(text))


def _quoted(spec: Spec, context: Context) -> Value:
    text = _member(spec, context)
    return carried(text, context.rng.choice(_MARKS[context.language]).format(text), text)


def _strs(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 2), spec.get("max", 4))
    pool = context.pools[spec["pool"]]
    if spec["pool"] in CITIES:
        drawn = _cities(spec, context, count)
    else:
        drawn = [pair[context.chinese] for pair in context.rng.sample(pool, min(count, len(pool)))]
    return _listed(drawn, context, spec.get("marks", "{}") if context.chinese else "{}")


def _people(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 2), spec.get("max", 4))
    return _listed([person(context.rng, context.language) for _ in range(count)], context)


def _emails(spec: Spec, context: Context) -> Value:
    return _listed([email(context.rng, context.language) for _ in range(context.rng.choice((2, 2, 3)))], context)


def _listed(drawn: list[str], context: Context, marks: str = "{}") -> Value:
    words = list(dict.fromkeys(drawn))
    args = [bare(word) for word in words]
    text = join_words([marks.format(word) for word in words], context.language, context.rng)
    return Value(args, text, {str(i): arg for i, arg in enumerate(args)})


def _airport(spec: Spec, context: Context) -> Value:
    code, english, chinese = context.rng.choice(AIRPORTS)
    return meant(code, context.rng.choice((code, chinese if context.chinese else english)))


def _coordinates(spec: Spec, context: Context) -> Value:
    """Latitude and longitude of a place in a large city as an object."""
    north, east = draw_spot(context.rng)
    layouts = ("纬度{}，经度{}", "({}, {})") if context.chinese else ("latitude {}, longitude {}", "({}, {})", "{}, {}")
    text = context.rng.choice(layouts).format(north, east)
    return Value({"latitude": north, "longitude": east}, text, {"latitude": str(north), "longitude": str(east)})


def _located(spec: Spec) -> dict[str, Any]:
    fields = {"latitude": {"type": "number"}, "longitude": {"type": "number"}}
    return {"type": "object", "properties": fields, "required": list(fields)}


def _enumerated(spec: Spec) -> dict[str, Any]:
    return {"type": "string", "enum": [value for value, _, _ in enum_values(spec)]}


def _same(text: str) -> Value:
    return carried(text, text)


_LIST = plain("array", items={"type": "string"})
TYPES: dict[str, SlotType] = {
    "enum": SlotType(_enum, _enumerated),
    "enums": SlotType(_enums, lambda spec: {"type": "array", "items": _enumerated(spec)}),
    "bool": SlotType(_bool, plain("boolean")),
    "pool": SlotType(_pool, plain("string")),
    "quoted": SlotType(_quoted, plain("string")),
    "strs": SlotType(_strs, _LIST),
    "people": SlotType(_people, _LIST),
    "emails": SlotType(_emails, _LIST),
    "person": SlotType(lambda spec, c: _same(person(c.rng, c.language)), plain("string")),
    "company": SlotType(lambda spec, c: _same(company(c.rng, c.language)), plain("string")),
    "email": SlotType(lambda spec, c: _same(email(c.rng, c.language, spec.get("owner", ""))), plain("string")),
    "phone": SlotType(lambda spec, c: _same(phone(c.rng, c.language)), plain("string")),
    "address": SlotType(lambda spec, c: _same(street_address(c.rng, c.language)), plain("string")),
    "postcode": SlotType(lambda spec, c: _same(postcode(c.rng, c.language)), plain("string")),
    "airport": SlotType(_airport, plain("string"), "IATA code"),
    "coordinates": SlotType(_coordinates, _located),
}
