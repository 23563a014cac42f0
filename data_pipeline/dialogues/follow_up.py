"""Conversations in which later requests lean on the first: "and Berlin?", or ask for its result again."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.chain import write_two_requests
from data_pipeline.dialogues.draft import Draft, Values
from data_pipeline.dialogues.parallel import VARIED
from data_pipeline.dialogues.requests import one_request
from data_pipeline.slots import Value
from data_pipeline.surface import ToolInstance
from data_pipeline.toolsets import issued_identifier, issues
from data_pipeline.wording import attribute, capital, phrase


def write_follow_up(draft: Draft) -> None:
    """A request, then the same with another value once or twice; or a second request of its own."""
    rng = draft.rng
    # "And the coffee maker?" asks about another thing; it never orders, books or reviews one.
    readers = [i for i in draft.tool_set.instances if i.base.act in ("get", "search", "compute")]
    usable = [(i, p) for i in readers for p in i.params if p.required and p.kind in VARIED]
    if not usable or rng.random() < 0.1:
        return write_two_requests(draft)
    instance, param = rng.choice(usable)
    values = draft.values(instance)
    result = one_request(draft, instance, values)
    draft.facts["kind"] = "varied"
    used = [values[param.key].arg]
    for _ in range(rng.choice((1, 1, 1, 2))):
        value = draft.another(param, used, values)
        used.append(value.arg)
        values = {**values, param.key: value}
        draft.say(_ellipsis(draft, param, value))
        (result,) = draft.run([(instance, values)])
    if rng.random() < 0.15:
        recall(draft, instance, values, result)


def _ellipsis(draft: Draft, param: Param, value: Value) -> str:
    if param.kind == "enum" and not draft.chinese:
        said = phrase(param, value, "en", draft.rng)  # "And sorted by rating?", but not "And (high)?"
        if said[0].isalpha():
            return draft.words("follow_phrase", a=said)
    if param.kind in ("pool", "enum", "person", "company") and param.phrases_en:
        return draft.words("follow", t=draft.named(param, value))
    named = attribute(param, value, draft.language, draft.rng)
    options = [o for o in draft.options("follow_attr") if "{a}" not in o or "=" not in named]
    return capital(str(draft.rng.choice(options)).format(t=draft.named(param, value), n=draft.noun(param), a=named))


def recall(draft: Draft, instance: ToolInstance, values: Values, result: Mapping[str, Any]) -> None:
    """The user asks for the last result again; it is repeated without a call."""
    numbered = issues(instance.base) is not None and instance.base.backing is None and "error" not in result
    said = str(draft.messages[-1].content)
    noun = instance.base.noun[draft.chinese]
    draft.say(draft.words("recall_id", n=noun) if numbered else draft.sentence("recall"))
    draft.facts["recalled"] = draft.turns - 1
    if numbered:
        text = draft.sentence("recalled_id", i=str(issued_identifier(instance.base, result)))
    else:
        text = draft.sentence("recalled", A=said)
    draft.talk(text, "recall", t=instance.tool.name)
