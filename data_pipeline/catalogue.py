"""The tools the teacher may offer, read from `data_pipeline/catalogue/*.yaml`."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_pipeline.places import POOLS as CITIES
from data_pipeline.places import members
from data_pipeline.relations import dependent, pool_of, relations
from data_pipeline.slots import SLOT_TYPES, Context, Value, bare
from data_pipeline.tables import pairs, read_table
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Tool

if TYPE_CHECKING:
    from data_pipeline.world import World

FOLDER = Path(__file__).parent / "catalogue"
MEASURES = ("int", "num", "money", "pct", "year", "ints", "nums", "prob")
_MEASURED = {
    "unit_len": ("height", "prominence", "length", "depth", "diameter", "elevation_gain"),
    "unit_temp": ("melting_point", "boiling_point"),
    "country_o": ("box_office", "rating", "release_year", "price"),
    "weekday_o": ("opening_hours", "ticket_price"),
    "year": (
        *("market_cap", "revenue", "dividend_yield", "pe_ratio"),
        *("ranking", "tuition", "students", "acceptance_rate", "price"),
    ),
}
"""Attributes of look-ups for which an optional unit, place or time makes sense."""
_RATED = ("hotel", "restaurant", "product", "dish", "movie", "book", "subject", "place", "artist")
_WHOLE = {"object": (["{}"], ["，{}"]), "objects": ([": {}"], ["：{}"])}
_TITLED = ("movie", "show", "song", "book", "painting", "law")
"""Entities whose names Chinese puts between 《 and 》."""
_COUNTED = (
    *(("年份", "年"), ("人口", "人"), ("人数", "人"), ("卫星数量", "颗")),
    *(("专辑数量", "张"), ("页数", "页"), ("集数", "集"), ("航站楼数量", "座"), ("展品数量", "件")),
    *(("条款数量", "条"), ("进球数", "个"), ("胜场数", "场"), ("字母数量", "个")),
)
"""End of a Chinese noun → the measure word after its number."""
_SPOKEN = re.compile(r"\{(\w+)\}")
_INDEFINITE = re.compile(r"\ban? ")
NESTED = ("object", "objects", "ints", "nums", "strs", "people")


@dataclass(frozen=True)  # no slots: `kind` is kept
class Param:
    """One parameter of a base tool."""

    key: str
    spec: Mapping[str, Any]
    """Slot specification: "t" and what the type takes."""
    noun: str
    noun_zh: str
    names: tuple[str, ...]
    required: bool
    phrases_en: tuple[str, ...]
    """How the value enters a request ("in {}"); empty: as an attribute ("a radius of 5 cm")."""
    phrases_zh: tuple[str, ...]
    default: Any = None

    @cached_property
    def kind(self) -> str:
        """Slot type."""
        return str(self.spec["t"])


class Backing(Protocol):
    """What a tool from a user's file brings along, where built-in tools are served by the catalogue's tables."""

    @property
    def tool(self) -> Tool:
        """Its public face, which is never renamed."""

    @property
    def names(self) -> Mapping[str, str]:
        """Parameter → public name, in the order of the schema."""

    @property
    def subject(self) -> frozenset[str]:
        """Content words, to tell which tools could serve one another's requests."""

    def execute(
        self, params: Sequence[Param], arguments: Mapping[str, Any], world: "World", context: Context
    ) -> dict[str, Any]:
        """Run on arguments keyed by parameter."""

    def answer(self, result: Mapping[str, Any], language: str, rng: random.Random) -> str:
        """A sentence about a result, of its fields only."""

    def requests(self, language: str) -> tuple[str, ...]:
        """Templates of its requests (`sentences.py`); one at least fits any values."""

    def rest(self, before: str, left: Sequence[tuple[Param, Value]], language: str, rng: random.Random) -> str:
        """`before` and the values that a template does not name."""

    def issued(self, result: Mapping[str, Any]) -> Any:
        """The identifier that a result gives out."""

    def ordered(self, values: dict[str, Value]) -> dict[str, Value]:
        """`values` with the ends of ranges in order."""


@dataclass(frozen=True, eq=False)
class BaseTool:
    """A tool before renaming: the executor's view of it. There is one object a tool, so that it can be a key."""

    id: str
    domain: str
    act: str
    """Archetype: get, search, book, create, update, cancel, control, send, compute."""
    names: tuple[str, ...]
    heads_en: tuple[str, ...]
    heads_zh: tuple[str, ...]
    params: tuple[Param, ...]
    out: Mapping[str, Any]
    say: tuple[str, str] | None
    noun: tuple[str, str]
    group: str
    """Look-ups of one entity share a group: near misses of each other."""
    backing: Backing | None = None
    """Of a tool from a user's file."""

    @cached_property
    def kinds(self) -> frozenset[str]:
        """Slot types of its parameters."""
        return frozenset(param.kind for param in self.params)

    @cached_property
    def origin(self) -> str:
        """How it came into the catalogue: lookup, formula or written."""
        if self.id.startswith("lookup_"):
            return "lookup"
        if self.act != "compute" or self.group != self.id or self.id == "reverse_text":
            return "written"
        return "formula" if self.out.keys() <= {"result", "unit"} else "written"

    def param(self, key: str) -> Param:
        """The parameter `key`."""
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> Mapping[str, Param]:
        return {param.key: param for param in self.params}

    @cached_property
    def spoken(self) -> frozenset[str]:
        """Parameters that its sentences and heads name."""
        return frozenset(_SPOKEN.findall(" ".join((*(self.say or ()), *self.heads_en, *self.heads_zh))))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All tools and the pools their values come from."""

    tools: tuple[BaseTool, ...]
    pools: Mapping[str, tuple[tuple[str, str], ...]]

    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(sorted({tool.domain for tool in self.tools}))


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """Read the catalogue. Raises GenerationError naming the tool and key of a bad entry."""
    shared = _read("params.yaml")
    pools = {name: pairs(text) for name, text in _read("pools.yaml").items()}
    pools |= {name: pool_of(name) for name in relations() if pool_of(name) and name not in pools}
    pools |= {pool: members(pool) for pool in CITIES}
    tools = [_tool(entry, shared) for entry in _read("tools.yaml")]
    tools += [_formula(key, entry) for key, entry in _read("formulas.yaml").items()]
    for entity, entry in _read("entities.yaml").items():
        tools += [_lookup(entity, entry, attribute, shared) for attribute in entry["a"]]
    for tool in tools:
        _check(tool, pools)
    return Catalogue(tuple(tools), pools)


def _read(name: str) -> Any:
    return read_table(FOLDER / name)


def _param(key: str, shared: Mapping[str, Any], own: Mapping[str, Any], required: bool, where: str) -> Param:
    entry = dict(own.get(key) or {})
    if "like" in entry:
        entry = {**shared[entry.pop("like")], **entry}
    elif not entry:
        if key not in shared:
            raise GenerationError(f"catalogue tool {where}: parameter {key!r} is neither shared nor its own")
        entry = dict(shared[key])
    spec = {k: v for k, v in entry.items() if k not in ("n", "z", "names", "default")}
    if entry["t"] not in ("object", "objects"):
        spec.pop("en", None), spec.pop("zh", None)
    phrases_en, phrases_zh = entry.get("en"), entry.get("zh")
    if entry["t"] in ("object", "objects"):
        outer = own.get(key) or {}
        base = shared.get(key, {})
        spec["en"], spec["zh"] = base.get("en"), base.get("zh")
        phrases_en, phrases_zh = (outer.get("en"), outer.get("zh")) if "like" in outer else _WHOLE[entry["t"]]
    return Param(
        key=key,
        spec=spec,
        noun=entry["n"],
        noun_zh=entry["z"],
        names=tuple(entry["names"]),
        required=required,
        phrases_en=tuple(phrases_en or ()),
        phrases_zh=tuple(phrases_zh or ()),
        default=entry.get("default"),
    )


def _tool(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> BaseTool:
    own = entry.get("own") or {}
    need = f"{entry.get('need') or ''} {entry.get('need2') or ''}".split()
    params = [_param(k, shared, own, True, entry["id"]) for k in need]
    params += [_param(k, shared, own, False, entry["id"]) for k in (entry.get("opt") or "").split()]
    out = entry.get("out") or _default_out(entry)
    say = entry.get("say")
    return BaseTool(
        id=entry["id"],
        domain=entry["d"],
        act=entry["act"],
        names=tuple(entry.get("names") or (entry["id"],)),
        heads_en=tuple(entry["en"]),
        heads_zh=tuple(entry["zh"]),
        params=tuple(params),
        out=out,
        say=(say[0], say[1]) if say else None,
        noun=tuple(entry.get("noun") or (entry["id"].replace("_", " "), entry["zh"][0])),
        group=entry["id"],
    )


def _default_out(entry: Mapping[str, Any]) -> dict[str, Any]:
    act = entry["act"]
    if act == "search":
        row = {"name": f"pool {entry['hit']}"}
        if entry["hit"] in _RATED:
            row["rating"] = "num 3 5 1"
        elif entry["hit"] == "airline":
            row["departs"] = "time 6 21"
        return {"results": {"list": 3, "of": row}}
    if act in ("book", "create"):
        kind = entry.get("kind") or entry["id"].rsplit("_", 1)[-1]
        return {f"{kind}_id": f"id {kind[:2].upper()} {kind}", "status": "pick confirmed|confirmed"}
    status = {"cancel": "cancelled", "update": "updated", "control": "done", "send": "sent"}[act]
    return {"status": f"pick {status}|{status}"}


def _formula(key: str, entry: Mapping[str, Any]) -> BaseTool:
    params = []
    for name, text in entry["p"].items():
        noun, noun_zh, unit, unit_zh, low, high, kind = text.split("|")
        spec: dict[str, Any] = {"t": "num" if kind == "prob" else kind, "lo": float(low), "hi": float(high)}
        if kind == "prob":
            spec["d"] = 2
        if kind not in ("num", "prob"):
            spec["lo"], spec["hi"] = int(spec["lo"]), int(spec["hi"])
        if unit:
            spec["u"] = f"{unit}|{'' if unit_zh == '-' else unit_zh}"
            spec["unitname"] = unit.split(";")[-1] if unit != "dollars" else ""  # amounts are in the user's own money
        if kind == "pct":
            spec["unitname"] = "percent"
        names = dict.fromkeys(
            (name, noun.replace(" ", "_").replace("-", "_"), *(() if len(name) < 4 else (f"{name}_value",)))
        )
        listed = kind in ("ints", "nums")
        params.append(
            Param(
                key=name,
                spec=spec,
                noun=noun,
                noun_zh=noun_zh,
                names=tuple(names),
                required=True,
                phrases_en=("of {}", "for the values {}", "for {}") if listed else (),
                phrases_zh=("：{}", "，数据为{}") if listed else (),
            )
        )
    noun, noun_zh = entry["n"]
    unit = entry.get("r", "")
    return BaseTool(
        id=key,
        domain=entry["d"],
        act="compute",
        names=(f"calculate_{key}", key, f"compute_{key}", f"get_{key}", f"{key}_calculator"),
        heads_en=(
            f"calculate the {noun}",
            f"compute the {noun}",
            f"work out the {noun}",
            f"find the {noun}",
            f"what is the {noun}?",
            f"determine the {noun}",
            f"figure out the {noun}",
            f"get the {noun}",
            f"what's the {noun}?",
        ),
        heads_zh=(
            f"计算{noun_zh}",
            f"算一下{noun_zh}",
            f"算算{noun_zh}",
            f"{noun_zh}是多少？",
            f"算一算{noun_zh}",
            f"算出{noun_zh}",
            f"{noun_zh}等于多少？",
        ),
        params=tuple(params),
        out={"result": f"= {entry['e']}", **_unit(unit)},
        say=entry.get("say") or _said(_INDEFINITE.sub("the ", noun), noun_zh, "result", unit),
        noun=(noun, noun_zh),
        group=key,
    )


def _lookup(entity: str, entry: Mapping[str, Any], attribute: str, shared: Mapping[str, Any]) -> BaseTool:
    noun, noun_zh, result = entry["a"][attribute].split("|", 2)
    unit = (entry.get("u") or {}).get(attribute, "")
    key = Param(
        key=entity,
        spec={"t": "pool", "pool": entry["pool"]},
        noun=entity,
        noun_zh=entry["z"],
        names=(f"{entity}_name", entity, "name"),
        required=True,
        phrases_en=("of {}", "for {}"),
        phrases_zh=("，{}", "：{}"),
    )
    own = entry.get("own")
    measured = attribute in _MEASURED.get(str(own), (attribute,))
    extra = (_param(own, shared, {}, False, entity),) if own and measured else ()
    name = "{" + entity + "}"
    short = attribute if attribute.startswith(entity) else f"{entity}_{attribute}"
    return BaseTool(
        id=f"lookup_{entity}_{attribute}",
        domain=entry["d"],
        act="get",
        names=(f"get_{short}", f"{short}_lookup", f"find_{attribute}", f"fetch_{short}"),
        heads_en=(
            f"get the {noun} of {name}",
            f"look up the {noun} of {name}",
            f"find the {noun} of {name}",
            f"tell me the {noun} of {name}",
            f"what is the {noun} of {name}?",
            f"what's the {noun} of {name}?",
            f"check the {noun} of {name}",
            f"give me the {noun} of {name}",
            f"look up the {noun} of {article(entity)} {entity}",
        ),
        heads_zh=(
            f"查一下{name}的{noun_zh}",
            f"查询{name}的{noun_zh}",
            f"{name}的{noun_zh}是{_asked_zh(noun_zh, result)}？",
            f"告诉我{name}的{noun_zh}",
            f"查{entry['zh']}的{noun_zh}",
        ),
        params=(key, *extra),
        out={attribute: result, **_unit(unit)},
        say=_said(f"{noun} of {name}", f"{titled(entity, name)}的{noun_zh}", attribute, unit, result.partition(" ")[2]),
        noun=(f"{noun} of {article(entity)} {entity}", f"{entry['zh']}的{noun_zh}"),
        group=entity,
    )


def _asked_zh(noun_zh: str, result: str) -> str:
    """What Chinese asks for: 哪年, 什么 or 多少."""
    if noun_zh.endswith("年份"):
        return "哪年"
    return "什么" if result.startswith(("pool", "pick", "person")) else "多少"


def _unit(unit: str) -> dict[str, str]:
    """Result field that names the unit "en|zh"; none where there is none."""
    return {"unit": f"unit {unit}"} if unit else {}


def _said(noun: str, noun_zh: str, field: str, unit: str, pool: str = "") -> tuple[str, str]:
    """The sentences that tell `field`, a member of `pool` if it is one, with its unit."""
    blank = "" if unit.startswith(("%", "°")) or not unit else " "
    told = "{unit}" if unit else ""
    counted = "" if unit else next((word for end, word in _COUNTED if noun_zh.endswith(end)), "")
    shown = titled(pool, f"{{{field}}}")
    return f"The {noun} is {{{field}}}{blank}{told}.", f"{noun_zh}是{shown}{told}{counted}。"


def titled(entity: str, name: str) -> str:
    """A name as Chinese writes it: works and laws between 《 and 》."""
    return f"《{name}》" if entity in _TITLED else name


def article(word: str) -> str:
    """a or an."""
    return "an" if word[0] in "aeiou" and not word.startswith("uni") else "a"


def _check(tool: BaseTool, pools: Mapping[str, Any]) -> None:
    for param in tool.params:
        if param.kind not in SLOT_TYPES:
            raise GenerationError(f"catalogue tool {tool.id}: {param.key} has unknown slot type {param.kind!r}")
        if (pool := param.spec.get("pool")) and pool not in pools:
            raise GenerationError(f"catalogue tool {tool.id}: {param.key} names unknown pool {pool!r}")
    for place, param in enumerate(tool.params):
        _check_relation(tool, param, tool.params[:place], pools)
    if not any("{" not in head for head in tool.heads_en) or not any("{" not in head for head in tool.heads_zh):
        raise GenerationError(f"catalogue tool {tool.id}: each language needs a head without inline slots")


def _check_relation(tool: BaseTool, param: Param, before: Sequence[Param], pools: Mapping[str, Any]) -> None:
    """What has to go with another value is drawn after it; what is required goes with every value it may have."""
    for slot in dependent(param.spec):
        where = f"catalogue tool {tool.id}: {param.key} goes with {slot['to']}"
        owner = next((other for other in before if other.key == slot["to"]), None)
        if owner is None:
            raise GenerationError(f"{where}, which is no parameter before it")
        relation = relations()[slot["fits"]]
        lone = [name for name, _ in pools.get(str(owner.spec.get("pool")), ()) if relation.group(bare(name)) is None]
        if lone and (param.required or slot is not param.spec):
            raise GenerationError(f"{where}, but the relation {slot['fits']!r} has nothing for {lone[0]!r}")
