"""Decisions: whether to call, to ask or to leave it, and whether that agrees with what the user wants by now.

The metadata that is held against the conversation is described in `data_pipeline/gates/__init__.py`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data_pipeline.gates.reading import Call, Reading, fold, is_empty, is_error
from fcdist.schema.json_text import canonical_json, json_text

_CALL_FREE = ("", "general", "chat", "no_call")
"""Categories that say nothing about calls."""
_MAY_END_EARLY = ("slot_filling", "correction")
_SUCCESS = re.compile(
    r"\b(?:has|have) been (?:booked|reserved|created|cancelled|canceled|updated|sent|confirmed|scheduled|placed|added|"
    r"ordered|set|done|completed|arranged|changed|moved|deleted|transferred|paid|saved)\b|"
    r"\bi(?:'ve| have) (?:booked|reserved|created|cancelled|canceled|updated|sent|scheduled|placed|added|ordered|"
    r"set up|arranged|changed|moved|deleted|transferred|paid|saved)\b|"
    r"\b(?:is|are) (?:now )?(?:confirmed|booked|reserved)\b|\ball set\b|\bsuccessful(?:ly)?\b|^done\b|"
    r"(?:已|成功)(?:[为帮给]您)?(?:成功)?(?:预[订定约]|创建|更新|发送|确认|安排|添加|下单|设置|完成|办妥|转账|支付|保存|修改|删除)|"
    r"办好了|搞定|操作成功|(?:预订|预约|创建|发送|取消|修改|下单)成功"
)
_NO_SUCCESS = re.compile(
    r"\bnot\b|n't\b|\bnever\b|\bunable\b|\bfail|\bwas cancell?ed before|\balready\b|"
    r"没|未|无法|不能|失败|之前|不行|冲突|已是|已满|已被|不了"
)
_SENTENCE = re.compile(r"[^.!?。！？；;\n]+")


def negatives(reading: Reading) -> str | None:
    """A negative has no call; a conversation that is about calls has one, unless the user keeps or takes it back."""
    facts, category = reading.facts, reading.conversation.category
    if category == "negative" or facts.get("withheld"):
        return "call_in_negative" if reading.calls else None
    # Without a note, nobody can tell whether the user kept or took back what a call would need.
    settled = reading.declared_calls is not None or category not in _MAY_END_EARLY
    if category not in _CALL_FREE and not reading.calls and facts.get("dropped") is None and settled:
        return "no_call"
    return None


def slot_question(reading: Reading) -> str | None:
    """What is missing is asked for before any call, all of it and nothing else, and it was really missing."""
    for key, place in (("missing", 0), ("asked_again", 1)):
        slots = _slots(reading, key)
        if slots and (reason := _asks_for(reading, slots, place)):
            return reason
    missing = _slots(reading, "missing")
    if missing and reading.calls and not reading.facts.get("looked_up"):
        return _was_missing(reading, missing)
    if reading.facts.get("ambiguous"):
        return _was_unclear(reading, reading.facts["ambiguous"])
    return None


def _slots(reading: Reading, key: str) -> Sequence[Mapping[str, str]]:
    slots = reading.facts.get(key)
    return [slot for slot in slots if isinstance(slot, Mapping)] if isinstance(slots, list) else []


def _asks_for(reading: Reading, slots: Sequence[Mapping[str, str]], place: int) -> str | None:
    """Reason why the assistant's turn number `place` is not a question for exactly `slots`."""
    turns = [i for i, m in enumerate(reading.messages) if m.role == "assistant"]
    if len(turns) <= place or reading.messages[turns[place]].tool_calls:
        return "call_before_question"
    if turns[place] == len(reading.messages) - 1:
        return "question_without_answer"
    text = fold(reading.messages[turns[place]].content or "")
    for noun in sorted((fold(slot["noun"]) for slot in slots), key=len, reverse=True):
        if noun not in text:
            return "question_names_other_slot"
        text = text.replace(noun, " ")
    others = _other_nouns(reading, {fold(slot["noun"]) for slot in slots})
    return "question_names_given_slot" if any(_names(text, noun) for noun in others) else None


def _other_nouns(reading: Reading, asked_for: set[str]) -> Iterator[str]:
    """What the tool's other parameters are called, where the writer noted it."""
    nouns = reading.facts.get("nouns")
    if isinstance(nouns, list) and "llm" not in reading.facts:  # in free words "for the hotel" asks for no hotel
        yield from (noun for noun in map(fold, nouns) if noun not in asked_for)


def _names(text: str, noun: str) -> bool:
    if not noun.isascii():
        if len(noun) > 1:
            return noun in text
        # One ideograph is a word of its own only between joints: 半径和高是？
        return re.search(rf"(?:^|[和与及、，,的\s]){noun}(?:$|[和与及、，,是呢吗？?请分\s])", text) is not None
    return re.search(rf"\b{re.escape(noun)}\b", text) is not None


def _was_missing(reading: Reading, missing: Sequence[Mapping[str, str]]) -> str | None:
    names = [slot["name"] for slot in missing]
    call = next((c for c in reading.calls if any(_filled(c, name) for name in names)), reading.calls[0])
    if not all(_filled(call, name) for name in names):
        return "missing_slot_not_filled"
    request = reading.messages[reading.users[0]].content or ""
    for slot in missing:
        value = call.leaves.get(slot["name"])
        if isinstance(value, str) and len(value) > 3 and value.casefold() in request.casefold():
            return "slot_was_given"
    return None


def _filled(call: Call, path: str) -> bool:
    return any(leaf == path or leaf.startswith(f"{path}.") for leaf in call.leaves)


def _was_unclear(reading: Reading, ambiguous: Mapping[str, Any]) -> str | None:
    """A date with two readings is asked about before the first call, which then takes one of them."""
    if not reading.calls:
        return None
    call = reading.calls[0]
    spoken = [m for m in reading.messages[: call.turn] if m.role == "assistant"]
    if not spoken:
        return "call_before_question"
    value = call.leaves.get(ambiguous["name"])
    sources = _sources(call, ambiguous["name"]) if value not in ambiguous["readings"] else [value]
    return None if set(sources) & set(ambiguous["readings"]) else "reading_not_meant"


def _sources(call: Call, path: str) -> list[Any]:
    """Values in plain form behind an argument that the tool takes in another form."""
    span = (call.declared or {}).get("spans", {}).get(path)
    return [value for value, _ in span["of"]] if isinstance(span, Mapping) and "of" in span else []


def changes_of_mind(reading: Reading) -> str | None:
    """What the user takes back is not called with any more, and what was told already is not looked up again."""
    users = reading.users
    for taken in reading.facts.get("withdrawn") or ():
        later = [c for c in reading.calls if c.turn > users[min(taken["turn"], len(users) - 1)]]
        if any(c.arguments.get(taken["name"]) == taken["value"] for c in later):
            return "withdrawn_value_used"
    for key, reason in (("dropped", "call_after_drop"), ("recalled", "call_for_known_answer")):
        turn = reading.facts.get(key)
        if isinstance(turn, int) and any(c.turn > users[min(turn, len(users) - 1)] for c in reading.calls):
            return reason
    return None


def failures(reading: Reading) -> str | None:
    """Failed calls are noted where the writer notes calls, told as what they are, and not repeated as they were."""
    if reading.declared_calls is not None:
        noted = {error["call"]: error["error"] for error in reading.facts.get("errors") or ()}
        for number, call in enumerate(reading.calls):
            if is_error(call.result) != (number in noted and noted[number] != "empty"):
                return "result_is_no_failure" if number in noted else "failure_not_noted"
    if _repeats_failure(reading):
        return "failed_call_repeated"
    for turn, text in reading.answers():
        results = reading.results_before(turn)
        if results and all(is_error(result) for result in results) and _claims_success(text):
            return "success_claimed_after_error"
    return None


def _repeats_failure(reading: Reading) -> bool:
    """Whether a call that failed is made again as it was; people may well ask twice, a declared row does not."""
    if not any(is_error(call.result) or is_empty(call.result) for call in reading.calls[:-1]):
        return False
    failed: set[str] = set()
    asked = 0
    for call in reading.calls:
        last = reading.last_user(call.turn)
        if last != asked and reading.declared_calls is None:
            failed.clear()
        asked = last
        key = f"{call.name} {canonical_json(call.arguments)}"
        if key in failed and not _may_try_again(reading, call):
            return True
        if is_error(call.result) or is_empty(call.result):
            failed.add(key)
    return False


def _may_try_again(reading: Reading, call: Call) -> bool:
    """Whether something else was called since, or the error was of the moment."""
    before = [c for c in reading.calls if c.turn < call.turn]
    return bool(before) and (before[-1].name != call.name or "retry" in json_text(before[-1].result).lower())


def _claims_success(text: str) -> bool:
    sentences = (fold(sentence) for sentence in _SENTENCE.findall(text.replace("’", "'")))
    return any(_SUCCESS.search(sentence) and not _NO_SUCCESS.search(sentence) for sentence in sentences)
