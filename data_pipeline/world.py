"""The simulated back end: a seeded state in memory, and errors with a type.

Results depend on (seed, tool, arguments) and on what was done before: identifiers exist once issued, a cancelled thing
cannot be cancelled again, a search also finds what was created, and what is taken stays taken.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import BaseTool, Param
from data_pipeline.expressions import evaluate
from data_pipeline.facts import in_asked_unit, known
from data_pipeline.people import invented, person
from data_pipeline.slots import Context, bare
from fcdist.config.seeds import derive_seed
from fcdist.schema.json_text import canonical_json

_HITS: dict[str, tuple[str, str, str]] = {
    "product": (
        "product",
        "{} Pro|{} Lite|{} Plus|{} Basic|{} Mini",
        "{}专业版|{}轻便款|{}升级版|{}基础款|{}迷你款",
    ),
    "topic": ("topic", "{} explained|{} today|{}: an overview|{} and you", "{}解读|{}最新动态|{}综述|{}与生活"),
    "subjectline": (
        "topic",
        "Re: {}|Question about {}|Our talk on {}|Notes: {}|Fwd: {}",
        "回复：{}|关于{}的问题|{}讲座通知|{}资料|转发：{}",
    ),
    "dish": (
        "ingredient",
        "Stir-fried {}|Soup with {}|Salad with {}|Curry with {}|Oven-baked {}|Stew with {}",
        "清炒{}|{}汤|{}沙拉|咖喱{}|烤{}|{}煲",
    ),
    "job": (
        "job",
        "{} (full-time)|{} (part-time)|{}, junior|{}, senior",
        "{}（全职）|{}（兼职）|{}（初级）|{}（高级）",
    ),
    "subject": ("subject", "{} basics|{} workshop|{} in practice|{} for everyone", "{}基础|{}工作坊|{}实战|{}入门"),
    "file": ("file", "{}.bak|{}.old|{}.copy", "{}.bak|{}.old|{}.copy"),
}
"""Pool of what is found → pool of what was searched for, and what the hits are called then."""
_MAX_ECHOED = 2
"""Members of a list that was searched for which the name of a hit repeats."""
_MAX_ROWS = 20
"""Rows that are drawn at most for a search."""
_CERTAIN = ("=", "unit", "id")
"""Kinds of results that the generator of the call has no part in."""
_UNUSED = random.Random(0)
"""Stands for that generator where nothing is left to chance: making one takes longer than all the rest."""


class World:
    """State of one conversation's back end."""

    def __init__(self, seed: int, pools: Mapping[str, tuple[tuple[str, str], ...]], language: str) -> None:
        self._seed = seed
        self._pools = pools
        self._language = language
        self._chinese = language == "zh"
        self._num_issued = 0
        self._num_executed = 0
        self._executing = False
        self._issued: dict[str, set[Any]] = {}
        self._echo: dict[str, str] = {}
        self._cancelled: set[tuple[str, Any]] = set()
        self._planned: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self._created: list[tuple[BaseTool, dict[str, str], Mapping[str, Any], Mapping[str, Any]]] = []
        self.records: dict[str, Mapping[str, Any]] = {}
        """What imported tools created: `kind/identifier` → the arguments it was created with."""
        self.setup: list[list[Any]] = []
        """What was laid down other than by calls, each with the number of calls before it; `restore` reads it."""

    @property
    def seed(self) -> int:
        """What everything in this world follows from."""
        return self._seed

    def issue(self, kind: str, prefix: str = "", make: Callable[[random.Random], Any] | None = None) -> Any:
        """A new identifier of `kind`; from now on it exists. `make` draws it where its form is given."""
        # A stream of its own, so that it is the same one when the calls are executed again without the words.
        rng = random.Random(derive_seed(self._seed, "issue", self._num_issued))
        prefix = prefix or kind[:2].upper()
        made = make(rng) if make is not None else f"{prefix}{rng.choice(('', '-'))}{rng.randint(1000, 99999)}"
        self._admit(kind, made)
        return made

    def _admit(self, kind: str, identifier: Any) -> None:
        self._num_issued += 1
        self._issued.setdefault(kind, set()).add(identifier)
        if not self._executing:
            self.setup.append([self._num_executed, "issue", kind, identifier])

    def knows(self, kind: str, identifier: Any) -> bool:
        """Whether an identifier was issued and not forgotten since."""
        return identifier in self._issued.get(kind, set())

    def forget(self, kind: str, identifier: Any) -> None:
        """From now on the identifier does not exist."""
        self._issued.get(kind, set()).discard(identifier)

    def plan_outcome(self, tool: BaseTool, key: str, value: Any, outcome: Mapping[str, Any]) -> None:
        """From now on `tool` answers `outcome` whenever its parameter `key` is `value`: taken, refused, unknown, empty.

        Args:
            tool: the tool.
            key: its parameter.
            value: the argument that leads to it.
            outcome: the result; one with an "error" changes nothing in the world.
        """
        self._planned[tool.id, key, canonical_json(value)] = outcome
        self.setup.append([self._num_executed, "outcome", tool.id, key, value, outcome])

    def restore(self, setup: Sequence[Sequence[Any]]) -> None:
        """Lay down again what `setup` of another world says for the calls executed so far."""
        for before, what, *facts in setup:
            if before == self._num_executed and what == "issue":
                self._admit(*facts)
            elif before == self._num_executed:
                tool, key, value, outcome = facts
                self._planned[tool, key, canonical_json(value)] = outcome

    def execute(
        self, tool: BaseTool, arguments: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Run `tool` on arguments keyed by base parameter.

        Args:
            tool: the tool.
            arguments: base parameter → value.
            names: base parameter → public name, as errors say it.

        Returns:
            The result. `{"error": "not_found", …}` where an identifier was never issued, `{"error": "conflict", …}`
            where it was cancelled before, and what `plan_outcome` laid down.
        """
        self._executing = True
        try:
            return self._execute(tool, arguments, names)
        finally:
            self._executing = False
            self._num_executed += 1

    def _execute(self, tool: BaseTool, arguments: Mapping[str, Any], names: Mapping[str, str] | None) -> dict[str, Any]:
        for key in arguments if self._planned else ():
            if (planned := self._planned.get((tool.id, key, canonical_json(arguments[key])))) is not None:
                return dict(planned)
        if tool.backing is not None:
            context = Context(self._chance(tool, arguments), self._language, None, self._pools, self.issue)
            return tool.backing.execute(tool.params, arguments, self, context)
        for param in tool.params:
            if param.kind == "ref" and param.key in arguments:
                kind, value = param.spec["kind"], arguments[param.key]
                public = (names or {}).get(param.key, param.key)
                if (kind, value) in self._cancelled:
                    return {"error": "conflict", public: value, "status": "cancelled"}
                if not self.knows(kind, value):
                    return {"error": "not_found", public: value}
                if tool.act == "cancel":
                    self.forget(kind, value)
                    self._cancelled.add((kind, value))
        facts = known(tool.id, arguments, self._language)
        leaves_open = any([field not in facts for field in _left_to_chance(tool)])
        rng = self._chance(tool, arguments) if leaves_open else _UNUSED
        self._echo = {
            str(param.spec["pool"]): self._echoed(arguments[param.key])
            for param in tool.params
            if param.kind in ("pool", "strs") and param.key in arguments
        }
        inputs = {param.key: arguments.get(param.key, param.default or 0) for param in tool.params}
        result: dict[str, Any] = {}
        for field, spec in tool.out.items():
            result[field] = inputs[field] = facts[field] if field in facts else self._field(spec, rng, inputs)
        result = in_asked_unit(result, arguments, self._language)
        if tool.act == "search":
            self._show_created(tool, arguments, result)
        elif tool.act in ("create", "book"):
            pools = {str(p.spec["pool"]): str(arguments[p.key]) for p in tool.params if _is_text(p, arguments)}
            self._created.append((tool, pools, arguments, result))
        return result

    def _echoed(self, asked: Any) -> str:
        """What was searched for, as the names of hits repeat it."""
        if not isinstance(asked, list):
            return str(asked)
        return ("" if self._chinese else " and ").join(map(str, asked[:_MAX_ECHOED]))

    def _chance(self, tool: BaseTool, arguments: Mapping[str, Any]) -> random.Random:
        """What a call leaves to chance follows from the call."""
        return random.Random(derive_seed(self._seed, tool.id, canonical_json(arguments)))

    def _show_created(self, tool: BaseTool, arguments: Mapping[str, Any], result: dict[str, Any]) -> None:
        """Put what was created under the same circumstances in the first row of a search of the same domain."""
        for field, spec in tool.out.items():
            column, _, pool = _first_column(spec)
            for maker, pools, given, made in self._created:
                alike = all(given[key] == value for key, value in arguments.items() if key in given)
                if maker.domain == tool.domain and pool in pools and alike and result[field]:
                    result[field][0][column] = pools[pool]
                    for other, inner in spec["of"].items():
                        if inner in maker.out.values():
                            result[field][0][other] = next(made[key] for key, is_ in maker.out.items() if is_ == inner)

    def _rows(
        self, columns: Mapping[str, Any], count: int, rng: random.Random, names: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """`count` rows with different first columns, none of which was asked for; fewer where chance gives fewer."""
        rows: list[dict[str, Any]] = []
        first = next(iter(columns))
        taken = set(self._echo.values())
        # As many identifiers are counted whatever the first columns are, so that later ones do not depend on those.
        num_issued = sum(_kind(spec) == "id" for spec in columns.values()) * _MAX_ROWS + self._num_issued
        for _ in range(_MAX_ROWS):
            if len(rows) == count:
                break
            row = {key: self._field(_wanted(key, item, names), rng, names) for key, item in columns.items()}
            if row[first] not in taken:
                taken.add(row[first])
                rows.append(row)
        self._num_issued = num_issued
        return rows

    def _field(self, spec: Any, rng: random.Random, names: Mapping[str, Any]) -> Any:
        if isinstance(spec, dict):
            return self._rows(spec["of"], spec["list"], rng, names)
        kind, rest, parts = _parsed(str(spec))
        if kind == "=":
            return evaluate(rest, names)
        if kind == "pool" and rest in _HITS and _HITS[rest][0] in self._echo:
            asked, english, chinese = _HITS[rest]
            name = rng.choice((chinese if self._chinese else english).split("|")).format(self._echo[asked])
            return name if rest == "file" else name[:1].upper() + name[1:]
        if kind == "pool":
            return bare(rng.choice(self._pools[rest])[self._chinese])
        if kind == "new":
            return invented(rest, rng, "zh" if self._chinese else "en")
        if kind == "person":
            return person(rng, "zh" if self._chinese else "en")
        if kind == "unit":
            english, _, chinese = rest.partition("|")
            return chinese if self._chinese and chinese else english
        if kind == "dice":
            dice, sides = (int(names[key]) for key in parts)
            return sum(rng.randint(1, sides) for _ in range(dice))
        if kind == "pick":
            english, _, chinese = rest.partition("|")
            return rng.choice((chinese if self._chinese and chinese else english).split("/"))
        if kind == "int":
            value = rng.randint(int(parts[0]), int(parts[1]))
            return round(value, -max(0, len(str(abs(value))) - 4))
        if kind == "num":
            return round(rng.uniform(float(parts[0]), float(parts[1])), int(parts[2]))
        if kind == "time":
            return f"{rng.randint(int(parts[0]), int(parts[1])):02d}:{rng.choice((0, 10, 15, 30, 45)):02d}"
        if kind == "code":
            return parts[0] + "".join(rng.choice("0123456789") for _ in range(int(parts[1])))
        return self.issue(parts[1], parts[0])


@lru_cache(maxsize=4096)
def _parsed(spec: str) -> tuple[str, str, tuple[str, ...]]:
    """Kind of a result's field, what stands after it, and the words of that."""
    kind, _, rest = spec.partition(" ")
    return kind, rest, tuple(rest.split())


def _kind(spec: Any) -> str:
    """Kind of a result's field; empty for rows."""
    return "" if isinstance(spec, dict) else _parsed(str(spec))[0]


@lru_cache(maxsize=4096)
def _left_to_chance(tool: BaseTool) -> tuple[str, ...]:
    """Fields of a result that are drawn where nothing is known of what the tool is asked about."""
    return tuple(field for field, spec in tool.out.items() if not _is_certain(spec))


def _is_certain(spec: Any) -> bool:
    kind = _kind(spec)
    return kind in _CERTAIN or (kind == "pick" and "/" not in spec)


def _is_text(param: Param, arguments: Mapping[str, Any]) -> bool:
    return param.key in arguments and param.kind in ("pool", "quoted") and "pool" in param.spec


def _first_column(spec: Any) -> tuple[str, str, str]:
    """Name, type and pool of what the rows of a search are called; empty for other results."""
    if not isinstance(spec, Mapping):
        return "", "", ""
    column, inner = next(iter(spec["of"].items()))
    kind, _, pool = str(inner).partition(" ")
    return column, kind, pool if kind == "pool" else ""


def _wanted(column: str, spec: Any, names: Mapping[str, Any]) -> Any:
    """Hits keep to the rating that was asked for."""
    least = names.get("min_rating")
    if column != "rating" or not least:
        return spec
    _, low, high, digits = str(spec).split()
    return f"num {min(max(float(low), float(least)), float(high))} {high} {digits}"
