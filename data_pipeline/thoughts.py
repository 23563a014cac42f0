"""What the assistant thinks before it acts: built from facts of the plan, short, in several layouts."""

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from data_pipeline.catalogue import FOLDER
from data_pipeline.replies import third_person
from data_pipeline.slots import Value
from data_pipeline.tables import read_table
from fcdist.schema.json_text import json_text

_MAX_FACTS = 8
"""Arguments that a thought spells out; of the others it tells the name."""
_MAX_WORDS = 40
"""Longest words for a value, in characters, that a thought repeats."""
_MAX_THOUGHT = 280
"""Longest facts of a thought, in characters; longer ones shrink to the names of the arguments."""
_NEEDED_SHARE = 0.4
"""Of the thoughts before a call that tell its values: those that first list what the tool requires."""
_QUOTES = "\"'“”「」《》"


class PlannedCall(NamedTuple):
    """A call as a thought sees it."""

    name: str
    goal: str
    """What the tool does, as an imperative."""
    facts: Mapping[str, Value]
    """Public argument, as a dotted path → its value and the user's words."""
    required: Sequence[str] = ()
    """Names of the arguments that the tool requires."""


@lru_cache(maxsize=1)
def layouts() -> Any:
    """Layouts of both languages."""
    return read_table(FOLDER / "thoughts.yaml")


def before_calls(calls: Sequence[PlannedCall], seen: str, language: str, rng: random.Random) -> str:
    """The reasoning before calls: what was asked, the tool, each argument and where it comes from.

    Args:
        calls: what will be called.
        seen: what an earlier result said that leads here; empty at first.
        language: of the thought.
        rng: source of the layout.
    """
    table = layouts()[language]
    facts = [_facts(call, language) for call in calls]
    if sum(len(fact) for each in facts for fact in each) > _MAX_THOUGHT:
        facts = [list(call.facts) for call in calls]
    opening = rng.choice(table["seen"]).format(s=seen) if seen else ""
    if len(calls) > 1 and len({call.name for call in calls}) == 1:
        return opening + _one_tool(calls, language, rng)
    if len(calls) > 1:
        bracket = "{}（{}）" if language == "zh" else "{} ({})"
        comma = "，" if language == "zh" else ", "
        each = [bracket.format(c.name, comma.join(f)) if f else c.name for c, f in zip(calls, facts, strict=True)]
        return opening + str(rng.choice(table["calls"])).format(
            k=len(calls), a=("；" if language == "zh" else "; ").join(each)
        )
    return opening + _one_call(calls[0], facts[0], bool(seen), language, rng)


def _one_tool(calls: Sequence[PlannedCall], language: str, rng: random.Random) -> str:
    """Several calls of one tool: what tells them apart, and what is the same in all of them."""
    facts = [_facts(call, language) for call in calls]
    first = calls[0].facts
    same = {name for name, value in first.items() if all(call.facts.get(name) == value for call in calls)}
    shared = [fact for name, fact in zip(first, facts[0], strict=True) if name in same]
    comma, semicolon, colon = ("，", "；", "：") if language == "zh" else (", ", "; ", ": ")
    own = [
        comma.join(fact for name, fact in zip(call.facts, each, strict=True) if name not in same)
        for call, each in zip(calls, facts, strict=True)
    ]
    if sum(map(len, shared)) + sum(map(len, own)) > _MAX_THOUGHT:
        shared = [fact.partition(colon)[0] for fact in shared]
    table = layouts()[language]["calls_shared" if shared else "calls_of_one"]
    return str(rng.choice(table)).format(k=len(calls), t=calls[0].name, a=semicolon.join(own), c=comma.join(shared))


def _one_call(call: PlannedCall, facts: Sequence[str], later: bool, language: str, rng: random.Random) -> str:
    table = layouts()[language]
    goal = third_person(call.goal, language)
    if not facts:
        return str(rng.choice(table["bare"])).format(t=call.name, h=goal)
    kind = "later" if later else "call"
    if call.required and not later and rng.random() < _NEEDED_SHARE:
        kind = "needed"
    comma, pause = ("，", "、") if language == "zh" else (", ", ", ")
    return str(rng.choice(table[kind])).format(
        t=call.name,
        h=goal,
        a=comma.join(facts),
        p=pause.join(call.facts),
        r=pause.join(call.required),
        lines="\n".join(f"- {fact}" for fact in facts),
    )


def _facts(call: PlannedCall, language: str) -> list[str]:
    """`name: words = argument`; the words are left out where they are the argument."""
    colon = "：" if language == "zh" else ": "
    out: list[str] = []
    for name, value in call.facts.items():
        text = value.arg if isinstance(value.arg, str) else json_text(value.arg)
        words = value.text.strip(_QUOTES)
        if len(text) > 2 * _MAX_WORDS or len(out) >= _MAX_FACTS:
            out.append(name)
        elif any([isinstance(leaf, dict) and "result" in leaf for leaf in value.leaves.values()]):
            source = "（来自结果）" if language == "zh" else " (from the result)"
            out.append(f"{name}{colon}{text}{source}")
        elif words in (text, "") or len(words) > _MAX_WORDS:
            out.append(f"{name}{colon}{text}")
        else:
            out.append(f"{name}{colon}{words} = {text}")
    return out


def _given(call: PlannedCall, language: str) -> list[str]:
    """`name: words` of what was said so far; what it comes to is no matter before the call."""
    colon = "：" if language == "zh" else ": "
    words: dict[str, str] = {}
    for name, value in call.facts.items():
        text = value.text.strip(_QUOTES)
        words[name] = text if text not in words.values() else ""  # the currency is in the words of the amount
    return [f"{name}{colon}{text}" if 0 < len(text) <= _MAX_WORDS else name for name, text in words.items()]


def before_question(plan: PlannedCall, nouns: str, names: Sequence[str], language: str, rng: random.Random) -> str:
    """Before asking for what is missing: the tool, what is given and what is not."""
    facts = _given(plan, language)
    if sum(map(len, facts)) > _MAX_THOUGHT:
        facts = list(plan.facts)
    table = layouts()[language]["ask_given" if facts else "ask"]
    comma, pause = ("，", "、") if language == "zh" else (", ", ", ")
    goal = third_person(plan.goal, language)
    return str(rng.choice(table)).format(
        t=plan.name, h=goal, a=comma.join(facts), n=nouns, m=pause.join(names), r=pause.join(plan.required)
    )


def before_talk(kind: str, language: str, rng: random.Random, **slots: str) -> str:
    """Before a turn without call and question: `kind` says why nothing is called."""
    return str(rng.choice(layouts()[language][kind])).format(**slots)


def before_answer(said: str, language: str, rng: random.Random) -> str:
    """Before telling what a result said, where it is not simply reported."""
    return str(rng.choice(layouts()[language]["failure"])).format(s=said)
