"""The five measures, from verdicts on single answers.

1. structure: where a call is due, the answer parses into calls that fit the offered tools' schemas;
2. arguments: where a call is due, the calls are the expected ones; no_invention: no call carries a value nobody gave;
3. trigger: a call is made exactly where one is due (balanced: the mean of both recalls);
4. state: calls due after the first turn are the expected ones, which takes values from earlier turns and results;
5. unseen: calls due of tools that no training conversation offered are the expected ones.

State and unseen count calls alone: a model that never calls is right wherever none is due, and would look good.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fcdist.errors import SchemaError
from fcdist.evaluation.matching import invented_values, same_calls
from fcdist.evaluation.suite import Item
from fcdist.schema.checks import check_arguments
from fcdist.schema.conversation import Message, Tool, ToolCall


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one answer got right."""

    item: Item
    called: bool
    """At least one call was parsed."""
    structure: bool
    """Calls were parsed and all fit their tool's schema."""
    matches: bool
    """The calls are the expected ones (none where none is due)."""
    invented: tuple[Any, ...]
    """Argument values nobody gave."""
    reason: str
    """`right`, or the first thing wrong, as a counter key."""

    @property
    def right(self) -> bool:
        """Exactly the expected calls."""
        return self.matches


def judge(item: Item, answer: Message) -> Verdict:
    """Hold one parsed answer against what was expected."""
    calls, expected = answer.tool_calls, item.expected.tool_calls
    by_name = {tool.name: tool for tool in item.context.tools}
    fits = bool(calls) and all(fits_schema(call, by_name) for call in calls)
    matches = same_calls(calls, expected, item.context.tools)
    said = item.said()
    invented = [v for call in calls for v in invented_values(call, said, by_name.get(call.name), expected)]
    return Verdict(
        item=item,
        called=bool(calls),
        structure=fits,
        matches=matches,
        invented=tuple(invented),
        reason="right" if matches else _reason(calls, expected, fits, bool(invented)),
    )


def fits_schema(call: ToolCall, by_name: dict[str, Tool]) -> bool:
    """Whether a call names an offered tool and its arguments fit the tool's schema."""
    if call.name not in by_name:
        return False
    try:
        check_arguments(by_name[call.name], call.arguments)
    except SchemaError:
        return False
    return True


def summarise(verdicts: Sequence[Verdict], seen_tools: Collection[str] | None = None) -> dict[str, Any]:
    """Counts of a suite.

    Args:
        verdicts: of one row.
        seen_tools: names of the tools in the training data; None: unknown, and `unseen` is left out.

    Returns:
        `items`, `measures` (name → {"right", "of"}; `trigger` also has `balanced`), `by_category`, `reasons`.
    """
    due = [v for v in verdicts if v.item.expected.tool_calls]
    not_due = [v for v in verdicts if not v.item.expected.tool_calls]
    called = [v for v in verdicts if v.called]
    trigger_call = count(v.called for v in due)
    trigger_no_call = count(not v.called for v in not_due)
    measures: dict[str, dict[str, Any]] = {
        "structure": count(v.structure for v in due),
        "structure_of_calls": count(v.structure for v in called),
        "arguments": count(v.matches for v in due),
        "no_invention": count(not v.invented for v in called),
        "trigger": _balanced(trigger_call, trigger_no_call),
        "trigger_call": trigger_call,
        "trigger_no_call": trigger_no_call,
        "state": count(v.matches for v in due if v.item.turn > 0),
    }
    if seen_tools is not None:
        seen = set(seen_tools)
        measures["unseen"] = count(v.matches for v in due if v.item.is_unseen(seen))
        measures["seen"] = count(v.matches for v in due if not v.item.is_unseen(seen))
    by_category: dict[str, list[bool]] = defaultdict(list)
    reasons: dict[str, int] = defaultdict(int)
    for verdict in verdicts:
        by_category[verdict.item.category].append(verdict.right)
        reasons[verdict.reason] += 1
    return {
        "items": len(verdicts),
        "measures": measures,
        "by_category": {name: count(rights) for name, rights in sorted(by_category.items())},
        "reasons": dict(sorted(reasons.items())),
    }


def count(rights: Iterable[bool]) -> dict[str, Any]:
    """{"right", "of"} of some verdicts."""
    listed = list(rights)
    return {"right": sum(listed), "of": len(listed)}


def _balanced(call: dict[str, Any], no_call: dict[str, Any]) -> dict[str, Any]:
    recalls = [part["right"] / part["of"] for part in (call, no_call) if part["of"]]
    total = {"right": call["right"] + no_call["right"], "of": call["of"] + no_call["of"]}
    return total | {"balanced": sum(recalls) / len(recalls) if recalls else None}


def _reason(calls: Sequence[ToolCall], expected: Sequence[ToolCall], fits: bool, invents: bool) -> str:
    if not expected:
        return "called_without_need"
    if not calls:
        return "no_call"
    if not fits:
        return "schema"
    if len(calls) != len(expected):
        return "wrong_count"
    if sorted(c.name for c in calls) != sorted(c.name for c in expected):
        return "wrong_tool"
    return "invented_value" if invents else "wrong_value"
