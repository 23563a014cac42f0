"""A conversation being written: who says what, what is called, and what the world answers."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from data_pipeline.catalogue import BaseTool, Catalogue, Param, titled
from data_pipeline.relations import akin, applies, suit
from data_pipeline.replies import answer, is_plural, measured, replies, second_person, sentence
from data_pipeline.replies import head_of as head_words
from data_pipeline.slot_types import numeric
from data_pipeline.slots import Context, Value, join_words, sample
from data_pipeline.surface import PublicCall, ToolInstance
from data_pipeline.thoughts import PlannedCall, before_answer, before_calls, before_question, before_talk
from data_pipeline.toolsets import ToolSet
from data_pipeline.wording import Persona, capital, draw_persona, imperative, request, suiting
from data_pipeline.world import World
from fcdist.schema.conversation import Message, ToolCall
from fcdist.schema.json_text import json_text

Values = dict[str, Value]
Planned = tuple[ToolInstance, Values]
Option = TypeVar("Option")
_OPTIONAL_SHARES = (0.25, 0.5, 0.75)
"""Shares of the optional parameters that a user gives. With them calls have as many arguments as those of real data."""
_TRIES = 20
_NOTHING: Mapping[str, Value] = MappingProxyType({})
_CHOSEN = ("pool", "enum", "date", "time", "person", "company")
"""Kinds of which English asks which one: "which city?", but "what is the weight?"."""
_NUMBERS = frozenset(numeric.TYPES) - {"year", "ordinal", "matrix", "range", "price"}
"""Kinds of which Chinese asks how much: 多少."""
_PLACES_EN = ("First: ", "Second: ", "Third: ", "Fourth: ", "Fifth: ")
_PLACES_ZH = ("第一项：", "第二项：", "第三项：", "第四项：", "第五项：")


class RepetitionError(Exception):
    """Chance drew the same call or user turn twice; the caller draws again."""


@dataclass(slots=True)
class Draft:
    """A conversation being written."""

    tool_set: ToolSet
    catalogue: Catalogue
    language: str
    rng: random.Random
    world: World
    split: Sequence[BaseTool]
    """All base tools of this split; requests without a tool are drawn from them."""
    messages: list[Message] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the gates should know; see data_pipeline.programmatic."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """The words behind every call, for the gates."""
    made: list[ToolCall] = field(default_factory=list)
    persona: Persona = field(init=False)
    """Who speaks, in every turn."""

    def __post_init__(self) -> None:
        """Draw the speaker."""
        self.persona = draw_persona(self.language, self.rng)

    @property
    def chinese(self) -> bool:
        """Whether the conversation is in Chinese."""
        return self.language == "zh"

    @property
    def turns(self) -> int:
        """User turns so far."""
        return len([message for message in self.messages if message.role == "user"])

    def either(self, english: Sequence[Option], chinese: Sequence[Option]) -> Option:
        """One of the options of the conversation's language."""
        return self.rng.choice(chinese if self.chinese else english)

    def noun(self, param: Param) -> str:
        """What the parameter is called in the conversation's language."""
        return param.noun_zh if self.chinese else param.noun

    def named(self, param: Param, value: Value) -> str:
        """The user's words for `value` where they stand alone: Chinese marks the titles of works."""
        return titled(str(param.spec.get("pool")), value.text) if self.chinese and param.kind == "pool" else value.text

    def head(self, tool: BaseTool) -> str:
        """What `tool` does, as the assistant says it to the user."""
        return second_person(head_words(tool, self.language), self.language)

    def sentence(self, kind: str, **slots: str) -> str:
        """One of the sentences of `kind`, filled in, its first letter in upper case."""
        return capital(sentence(self.language, kind, self.rng, **slots))

    def options(self, kind: str) -> Sequence[str]:
        """Sentences of `kind` that go with how the user speaks."""
        return suiting(self.persona, replies()[self.language][kind], self.language)

    def words(self, kind: str, **slots: str) -> str:
        """One of the user's sentences of `kind`, filled in, its first letter in upper case."""
        return capital(str(self.rng.choice(self.options(kind))).format(**slots))

    def request(self, instance: ToolInstance, values: Mapping[str, Value], bare: bool = False) -> str:
        """The user's request for `instance` that says exactly `values`; nobody greets twice, so later ones are bare."""
        bare = bare or self.turns > 0
        return request(instance, values, self.language, self.rng, bare, self.persona)

    def context(self, relative: bool = True, given: Mapping[str, Value] = _NOTHING) -> Context:
        """Sampling context beside the values `given`; `relative` allows "tomorrow" where the date is known."""
        today = self.tool_set.today if relative else None
        return Context(self.rng, self.language, today, self.catalogue.pools, self.world.issue, given)

    def say(self, text: str) -> None:
        """The user speaks."""
        if any([m.role == "user" and m.content == text for m in self.messages]):
            raise RepetitionError
        self.messages.append(Message("user", text))

    def reply(self, text: str, thought: str | None = None) -> None:
        """The assistant speaks."""
        self.messages.append(Message("assistant", text, thought))

    def ask(self, instance: ToolInstance, params: Sequence[Param], given: Mapping[str, Value], again: str = "") -> None:
        """The assistant asks for `params` of `instance`; `again` names the sentences of a second question."""
        nouns = join_words([self.noun(p) for p in params], self.language)
        names = [instance.names[p.key] for p in params]
        plan = self._plan(instance, instance.public(given))
        why = before_question(plan, nouns, names, self.language, self.rng)
        self.reply(self.sentence(again or self._question(params, nouns), n=nouns), why)

    def _question(self, params: Sequence[Param], nouns: str) -> str:
        """Kind of sentence that asks for `params`: which city, what weight, 多少."""
        if len(params) > 1 or (not self.chinese and is_plural(nouns)):
            return "ask2"
        if self.chinese:
            return "ask_number" if params[0].kind in _NUMBERS else "ask"
        return "ask_which" if params[0].kind in _CHOSEN else "ask"

    def talk(self, text: str, kind: str = "talk", **slots: str) -> None:
        """The assistant speaks where no call is due; `kind` and `slots` choose and fill its thought."""
        self.reply(text, before_talk(kind, self.language, self.rng, **slots))

    def call(self, planned: Sequence[Planned], seen: str = "") -> list[dict[str, Any]]:
        """The assistant calls; the world answers.

        Args:
            planned: tools and what they are called with.
            seen: what an earlier result said that leads to this call; opens the thought.

        Returns:
            The results.
        """
        calls: list[ToolCall] = []
        results: list[dict[str, Any]] = []
        plans: list[PlannedCall] = []
        start = len(self.calls)
        for number, (instance, values) in enumerate(planned, start + 1):
            public = instance.public(values)
            arguments = public.arguments()
            text = json_text(arguments)
            if any([c.name == instance.tool.name and c.arguments == text for c in calls + self.made]):
                raise RepetitionError
            calls.append(ToolCall(f"call_{number}", instance.tool.name, text))
            self.calls.append({"name": instance.tool.name, "spans": public.spans()})
            plans.append(self._plan(instance, public))
            results.append(self.world.execute(instance.base, instance.restore(arguments), instance.labels))
        self.made += calls
        why = before_calls(plans, seen, self.language, self.rng)
        self.messages.append(Message("assistant", None, why, tuple(calls)))
        for (instance, _), call, result in zip(planned, calls, results, strict=True):
            content = json_text(instance.result(result))
            self.messages.append(Message("tool", content, tool_call_id=call.id, name=call.name))
        return results

    def _plan(self, instance: ToolInstance, public: PublicCall) -> PlannedCall:
        facts = public.facts()
        goal = head_words(instance.base, self.language)
        return PlannedCall(instance.tool.name, goal, facts, instance.required)

    def answer(self, planned: Sequence[Planned], results: Sequence[Mapping[str, Any]], opening: str = "") -> str:
        """The assistant reports the results, after `opening`. Returns the report."""
        report = self.report(planned, results)
        self.reply(opening + ("" if self.chinese or not opening else " ") + report)
        return report

    def report(self, planned: Sequence[Planned], results: Sequence[Mapping[str, Any]]) -> str:
        """What the assistant says about `results`."""
        same = {i.base.id for i, _ in planned}
        if len(planned) > 1 and len(same) == 1 and all(set(r) <= {"result", "unit"} for r in results):
            listed = join_words([measured(r, self.language) for r in results], self.language)
            return self.sentence("both", l=listed)
        if len(planned) > 1 and len(same) == 1 and all(r == results[0] and set(r) == {"status"} for r in results):
            return self.sentence("all_done")
        parts = [answer(i.base, v, r, self.language, self.rng) for (i, v), r in zip(planned, results, strict=True)]
        if len(set(parts)) > 1 and len(same) == 1:
            parts = self._told_apart(planned, results, parts)
        return ("" if self.chinese else " ").join(dict.fromkeys(parts))

    def _told_apart(
        self, planned: Sequence[Planned], results: Sequence[Mapping[str, Any]], parts: list[str]
    ) -> list[str]:
        """Reports of one tool's results that say which result belongs to which call."""
        base = planned[0][0].base
        issued = [str(value) for result in results for key, value in result.items() if key.endswith("_id")]
        if base.backing is None and base.say is None and len(issued) == len(planned):
            return [self.sentence("done_all", n=base.noun[self.chinese], l=join_words(issued, self.language))]
        shared = set.intersection(*({str(value.arg) for value in values.values()} for _, values in planned))
        own = [{v.arg for v in values.values() if isinstance(v.arg, str)} - shared for _, values in planned]
        if all(any(arg in part for arg in args) for args, part in zip(own, parts, strict=True)):
            return parts
        if base.act == "search":  # "I found these: …"
            parts = [part.partition(": ")[2] or part for part in parts]
        return [place + part for place, part in zip(_PLACES_ZH if self.chinese else _PLACES_EN, parts, strict=False)]

    def run(self, planned: Sequence[Planned], seen: str = "") -> list[dict[str, Any]]:
        """Call, then answer."""
        results = self.call(planned, seen)
        self.answer(planned, results)
        return results

    def tell_failure(self, text: str, said: str) -> None:
        """The assistant tells what went wrong; `said` is what the result said, for its thought."""
        self.reply(text, before_answer(said, self.language, self.rng))

    def values(self, instance: ToolInstance, must: Sequence[str] = (), relative: bool = True) -> Values:
        """Values of all required parameters, those in `must`, and some of the others."""
        share, rng = self.rng.choice(_OPTIONAL_SHARES), self.rng
        chosen = (p for p in instance.params if p.required or p.key in must or rng.random() < share)
        out = self.draw(chosen, relative)
        return instance.base.backing.ordered(out) if instance.base.backing is not None else out

    def draw(self, params: Iterable[Param], relative: bool = True) -> Values:
        """Values of those of `params` that make sense together, each of which goes with those before it."""
        out: Values = {}
        context = self.context(relative, out)
        for param in params:
            if not applies(param.spec, out):
                continue
            value = sample(param.spec, context)
            for _ in range(_TRIES):  # nobody goes from a place to the same place, or changes euros into euros
                if param.kind not in ("pool", "enum") or value.arg not in [other.arg for other in out.values()]:
                    break
                value = sample(param.spec, context)
            out[param.key] = value
        return out

    def another(self, instance: ToolInstance, param: Param, values: Values, not_these: Sequence[Any]) -> Value:
        """A value of `param` that goes with the other `values`, whose argument is none of `not_these`.

        Raises:
            RepetitionError: chance gives none.
        """
        context = akin(param.spec, values, param.key, self.context(given=values))
        for _ in range(_TRIES):
            value = sample(param.spec, context)
            if value.arg not in not_these and suit(instance.params, {**values, param.key: value}):
                return value
        raise RepetitionError

    def pick(self, kinds: Sequence[str] = ()) -> ToolInstance:
        """An instance of the set; with a parameter of one of `kinds` where there is one, rather one with several."""
        fitting = [i for i in self.tool_set.instances if any(p.kind in kinds for p in i.params)] if kinds else []
        fitting = fitting or list(self.tool_set.instances)
        return self.rng.choices(fitting, [max(1, len(instance.params)) for instance in fitting])[0]

    def core(self, instance: ToolInstance, values: Values) -> str:
        """The request for `instance` as an imperative without frame."""
        text, question = imperative(instance, values, self.language, self.rng)
        for _ in range(_TRIES):
            if not question:
                break
            text, question = imperative(instance, values, self.language, self.rng)
        return text

    def joined(self, *texts: str) -> str:
        """Sentences one after the other."""
        return ("" if self.chinese else " ").join(text for text in texts if text)
