"""The simulated back end: results depend on (seed, tool, arguments) only; identifiers exist once issued."""

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from data_pipeline.catalogue import BaseTool
from data_pipeline.expressions import evaluate
from data_pipeline.people import person
from data_pipeline.slots import Context, bare
from fcdist.config.seeds import derive_seed

_VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "product": ((" Pro", " Lite", " Plus", " Basic", " Mini"), ("专业版", "轻便款", "升级版", "基础款", "迷你款")),
    "topic": ((" explained", " today", ": an overview", " and you"), ("解读", "最新动态", "综述", "与生活")),
    "job": ((" (full-time)", " (part-time)", ", junior", ", senior"), ("（全职）", "（兼职）", "（初级）", "（高级）")),
    "subject": ((" basics", " workshop", " in practice", " for everyone"), ("基础", "工作坊", "实战", "入门")),
    "file": ((".bak", ".old", ".copy"), (".bak", ".old", ".copy")),
}
"""What search results add to the words that were searched for."""


class World:
    """State of one conversation's back end."""

    def __init__(self, seed: int, pools: Mapping[str, tuple[tuple[str, str], ...]], language: str) -> None:
        self._seed = seed
        self._pools = pools
        self._language = language
        self._chinese = language == "zh"
        self._rng = random.Random(derive_seed(seed, "world"))
        self._issued: dict[str, set[Any]] = {}
        self._echo: dict[str, str] = {}
        self.records: dict[str, Mapping[str, Any]] = {}
        """What imported tools created: `kind/identifier` → the arguments it was created with."""

    def issue(self, kind: str, prefix: str = "", make: Callable[[random.Random], Any] | None = None) -> Any:
        """A new identifier of `kind`; from now on it exists. `make` draws it where its form is given."""
        if make is not None:
            made = make(self._rng)
            self._issued.setdefault(kind, set()).add(made)
            return made
        prefix = prefix or kind[:2].upper()
        text = f"{prefix}{self._rng.choice(('', '-'))}{self._rng.randint(1000, 99999)}"
        self._issued.setdefault(kind, set()).add(text)
        return text

    def knows(self, kind: str, identifier: Any) -> bool:
        """Whether an identifier was issued and not forgotten since."""
        return identifier in self._issued.get(kind, set())

    def forget(self, kind: str, identifier: Any) -> None:
        """From now on the identifier does not exist."""
        self._issued.get(kind, set()).discard(identifier)

    def execute(self, tool: BaseTool, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Run `tool` on arguments keyed by base parameter.

        Returns:
            The result; `{"error": …}` where an identifier was never issued or was cancelled before.
        """
        if tool.backing is not None:
            key = json.dumps(arguments, sort_keys=True, ensure_ascii=False)
            rng = random.Random(derive_seed(self._seed, tool.id, key))
            context = Context(rng, self._language, None, self._pools, self.issue)
            return tool.backing.execute(tool.params, arguments, self, context)
        for param in tool.params:
            if param.kind == "ref" and param.key in arguments:
                known = self._issued.get(param.spec["kind"], set())
                if arguments[param.key] not in known:
                    return {"error": "not_found", param.spec["kind"]: arguments[param.key]}
                if tool.act == "cancel":
                    known.discard(arguments[param.key])
        canonical = json.dumps(arguments, sort_keys=True, ensure_ascii=False)
        rng = random.Random(derive_seed(self._seed, tool.id, canonical))
        self._echo = {
            str(param.spec["pool"]): str(arguments[param.key])
            for param in tool.params
            if param.kind == "pool" and param.key in arguments
        }
        names = {param.key: arguments.get(param.key, param.default or 0) for param in tool.params}
        result: dict[str, Any] = {}
        for field, spec in tool.out.items():
            result[field] = self._field(spec, rng, {**names, **result})
        return result

    def _field(self, spec: Any, rng: random.Random, names: Mapping[str, Any]) -> Any:
        if isinstance(spec, Mapping):
            rows: list[dict[str, Any]] = []
            for _ in range(20):
                row = {key: self._field(item, rng, names) for key, item in spec["of"].items()}
                if len(rows) < spec["list"] and all(row[next(iter(row))] != r[next(iter(r))] for r in rows):
                    rows.append(row)
            return rows
        kind, _, rest = str(spec).partition(" ")
        if kind == "=":
            return evaluate(rest, names)
        if kind == "pool" and rest in self._echo and rest in _VARIANTS:
            variants = _VARIANTS[rest][self._chinese]
            return self._echo[rest] + rng.choice(variants)
        if kind == "pool":
            return bare(rng.choice(self._pools[rest])[self._chinese])
        if kind == "person":
            return person(rng, "zh" if self._chinese else "en")
        if kind == "pick":
            english, _, chinese = rest.partition("|")
            return rng.choice((chinese if self._chinese and chinese else english).split("/"))
        parts = rest.split()
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
