"""Which hand-written requests (`sentences.py`) serve a tool: its own and, for look-ups and formulas, its kind's."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from data_pipeline.catalogue import BaseTool, titled
from data_pipeline.sentences import Template, compiled, requests

_KIND_OF_RESULT = {"person": "lookup_person", "pool": "lookup_text", "pick": "lookup_text"}
"""Results that are asked for by "who" or "what" instead of "how much"."""
_INSIDE_ZH = {"year": "{year}", "season_e": "{season_e}", "weekday_o": "{weekday_o}", "country_o": "在{country_o}"}
"""Second parameters that Chinese puts before the attribute: 印度2022年的失业率."""


class _Templates(NamedTuple):
    """Templates of a tool."""

    own: tuple[Template, ...]
    shared: tuple[Template, ...] = ()
    """Those of its kind, as all tools of the kind have them."""
    noun: str = ""
    """What stands for NOUN in them."""
    main: str = ""
    """The parameter that stands for `{main}` in them."""


@lru_cache(maxsize=4096)
def fitting(tool: BaseTool, language: str, given: frozenset[str], whole: bool) -> Sequence[Template]:
    """Templates that say exactly the values `given`: sentences (`whole`) or imperatives."""
    own, shared, noun, main = _templates(tool, language)
    renamed = given - {main} | {"main"} if main in given else given
    return [
        *[template for template in own if template.whole == whole and template.fits(given)],
        *[t.about(noun, main) for t in shared if t.whole == whole and t.fits(renamed)],
    ]


@lru_cache(maxsize=4096)
def _templates(tool: BaseTool, language: str) -> _Templates:
    if tool.backing is not None:
        return _Templates(tuple(map(compiled, tool.backing.requests(language))))
    kind = "lookup" if tool.id.startswith("lookup_") else "formula" if _is_formula(tool) else ""
    noun = tool.noun[language == "zh"]
    if kind == "lookup":  # the noun names the kind of thing, too: "height of a mountain"
        noun = noun.split("的", 1)[1] if language == "zh" else noun.rsplit(" of a", 1)[0]
        result = str(next(iter(tool.out.values()))).partition(" ")[0]
        kind = "lookup_year" if noun.endswith("年份") else _KIND_OF_RESULT.get(result, kind)
    elif kind and tool.params[0].kind in ("ints", "nums"):
        kind = "formula_list"
        noun = noun.split(" of a ")[0]
    main, extra = [*(param.key for param in tool.params[:2]), "", ""][:2]
    shared = _shared(kind, main, extra, language)
    own = tuple(map(compiled, requests(language).get(tool.id, ())))
    own *= max(1, len(shared) // max(1, 2 * len(own)))  # they weigh as much as half the others
    return _Templates(own, shared, noun, main)


@lru_cache(maxsize=1024)
def _shared(kind: str, main: str, extra: str, language: str) -> tuple[Template, ...]:
    """Templates of all tools of a kind whose first two parameters are called `main` and `extra`."""
    lines = requests(language).get(kind, ())
    if language == "zh" and extra in _INSIDE_ZH:
        lines = tuple(line.replace("{main}的", f"{{main}}[{_INSIDE_ZH[extra]}]的") for line in lines)
    slot = titled(main, "{main}") if language == "zh" else "{main}"
    return tuple(compiled(line.replace("{main}", slot)) for line in lines)


def _is_formula(tool: BaseTool) -> bool:
    return tool.out.keys() <= {"result", "unit"} and tool.names[0] == f"calculate_{tool.id}"
