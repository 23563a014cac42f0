"""Kinds of conversations: each keeps the law that makes it what it is."""

import json
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial

import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.dialogues.negative import KINDS, closeness
from data_pipeline.gates import GATES, first_failure
from data_pipeline.links import links
from data_pipeline.preferences import PreferencePairs
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.scenarios import apportion
from data_pipeline.thoughts import layouts
from fcdist.config.types import GenerateConfig
from fcdist.errors import ConfigError
from fcdist.schema.conversation import Conversation, Message, ToolCall

NUMBER = 3200
FOCUS = {
    **{"chain": 0.14, "correction": 0.22, "recovery": 0.18, "slot_filling": 0.16, "negative": 0.14},
    **{"single": 0.08, "date": 0.08},
}
EXPECTED = {
    "chain": {"within", "across"},
    "correction": {"slip", "asked", "after", "dropped", "rebooked", "moved"},
    "recovery": {"sold_out", "conflict", "empty", "not_found", "misspelt", "respelled", "capped", "invalid", "refused"},
    "slot_filling": {"full", "partial", "too_much", "withheld", "unclear"},
    "negative": set(KINDS),
}


@pytest.fixture(scope="module")
def written() -> list[Conversation]:
    config = GenerateConfig(num_conversations=NUMBER, shares=FOCUS, contrast=0.4, conversations_per_tool_set=4)
    teacher = ProgrammaticTeacher(config, seed=11)
    return [teacher.conversation(i) for i in range(NUMBER)]


def of(written: list[Conversation], category: str, *kinds: str) -> list[Conversation]:
    chosen = [c for c in written if c.category == category and (not kinds or c.metadata["kind"] in kinds)]
    assert len(chosen) >= 3, f"too few of {category} {kinds} to prove anything"
    return chosen


def calls(conversation: Conversation) -> Iterator[tuple[int, ToolCall, dict]]:
    """Place of the assistant's turn, call and decoded result."""
    for place, message in enumerate(conversation.messages):
        for offset, call in enumerate(message.tool_calls, 1):
            yield place, call, json.loads(conversation.messages[place + offset].content)


def user_places(conversation: Conversation) -> list[int]:
    return [place for place, message in enumerate(conversation.messages) if message.role == "user"]


def before(conversation: Conversation, place: int, *roles: str) -> str:
    return "\n".join(m.content or "" for m in conversation.messages[:place] if m.role in roles)


def spans(conversation: Conversation) -> Iterator[object]:
    for noted in conversation.metadata["calls"]:
        yield from noted["spans"].values()


def leaves(value: object) -> list[object]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [value] if inner is None else [leaf for item in inner for leaf in leaves(item)]


def from_results(span: object) -> list[object]:
    """Values of a result behind an argument, whatever form the argument takes."""
    if isinstance(span, dict):
        found = [span["result"]] if "result" in span else []
        return found + [value for inner in span.values() for value in from_results(inner)]
    return [value for inner in span for value in from_results(inner)] if isinstance(span, list) else []


def test_a_varied_follow_up_asks_anew_and_never_writes_anew():
    config = GenerateConfig(num_conversations=400, shares={"follow_up": 1.0}, conversations_per_tool_set=2)
    teacher = ProgrammaticTeacher(config, seed=6)
    written = [teacher.conversation(number) for number in range(400)]  # every set allows two different calls
    acts = {tool.id: tool.act for tool in load_catalogue().tools}
    varied = of(written, "follow_up", "varied")
    assert {acts[c.metadata["tools"][call.name]] for c in varied for _, call, _ in calls(c)} <= {
        *("get", "search", "compute")
    }
    assert of(written, "follow_up", "two_requests")


@pytest.mark.parametrize("category", EXPECTED)
def test_every_sub_kind_is_written_in_both_languages(written, category):
    found = defaultdict(set)
    for conversation in written:
        if conversation.category == category:
            found[conversation.language].add(conversation.metadata.get("kind"))
    for language in ("en", "zh"):
        assert EXPECTED[category] <= found[language], EXPECTED[category] - found[language]


def test_a_chained_call_takes_a_value_of_an_earlier_result(written):
    for conversation in of(written, "chain", "within", "across"):
        linked = conversation.metadata["calls"][-1]["spans"].values()
        (place, *_), seen = list(calls(conversation))[-1], [v for s in linked for v in from_results(s)]
        told = before(conversation, place, "tool")
        named = [s for s in linked if isinstance(s, str) and s in told]
        assert (seen and all(str(value) in told for value in seen)) or named


def test_within_one_request_the_user_speaks_once_and_the_calls_follow_each_other(written):
    for conversation in of(written, "chain", "within"):
        assert len(user_places(conversation)) == 1
        (first, *_), (second, *_) = calls(conversation)
        assert second == first + 2 and len(list(calls(conversation))) == 2


def test_what_is_taken_back_is_called_no_more(written):
    checked = 0
    for conversation in of(written, "correction") + of(written, "slot_filling", "too_much"):
        for withdrawn in conversation.metadata.get("withdrawn", ()):
            turn = user_places(conversation)[withdrawn["turn"]]
            later = [json.loads(call.arguments) for place, call, _ in calls(conversation) if place > turn]
            assert later and all(arguments.get(withdrawn["name"]) != withdrawn["value"] for arguments in later)
            checked += 1
    assert checked > 100


def test_what_is_missing_is_noted_with_the_nouns_of_the_whole_tool(written):
    for conversation in of(written, "slot_filling", "full"):
        missing = {item["noun"] for item in conversation.metadata["missing"]}
        assert missing <= set(conversation.metadata["nouns"])


_GLITCHES = {
    "both": r"[，、：；。][，、：；]|,,|\?\?|[?!]\.|,\.|\{\w*\}|\bNone\b|\"\"|“”|《》|「」|（）|\(\)|(?<=\S)  (?=\S)",
    "en": r"\w [,.?!](?:\s|$)|(?<!\d )\b[Aa] (?=[aeio]\w{2})(?!one)|\b(?:with|for|on|in|at|by|of) of\b|"
    r"(?<![\w.,-])1 (?:days|hours|minutes|years|times|people|nights|guests)\b",
    "zh": r"[\d一-龥] ?(?:hours?|minutes?|days?|years?|meters|kilometers|seconds|people|dollars|degrees)\b",
}
"""What empty slots, clashing parts and the other language's words leave behind."""


def test_no_turn_has_the_marks_of_a_broken_template(written):
    broken = {language: re.compile(f"{_GLITCHES['both']}|{_GLITCHES[language]}") for language in ("en", "zh")}
    for conversation in written:
        for message in conversation.messages:
            text = message.content or ""
            if message.role in ("user", "assistant"):
                assert not (found := broken[conversation.language].search(text)), (found[0], text)
                assert not re.search("《[^》]*、[^》]*》", text), text
                assert all(text.count(a) == text.count(b) for a, b in ("()", "（）", "“”", "《》", "「」")), text


def test_tools_of_one_domain_are_near_where_they_share_things_or_acts():
    catalogue = {tool.id: tool for tool in load_catalogue().tools}
    cancel, city = catalogue["cancel_booking"], catalogue["lookup_airport_city"]
    assert closeness(cancel, city) == 0 < closeness(catalogue["search_flights"], catalogue["search_hotels"])


def test_nobody_greets_twice_and_formal_people_stay_formal(written):
    greeting = re.compile(
        r"(?:hello|hi\b|hi there|good (?:morning|afternoon|day)|dear assistant)|[你您]好|早上好", re.I
    )
    formal = re.compile(r"\bkindly\b|I am writing to ask|be so kind|烦请|请协助|劳烦您", re.I)
    casual = re.compile(r"\b(?:oh|oops|hmm|you know what)\b|[哦嗯哎呗]", re.I)
    checked = 0
    for conversation in written:
        first, *later = [conversation.messages[place].content for place in user_places(conversation)]
        assert not any(greeting.match(text) for text in later), later
        if formal.search(first):
            checked += len(later)
            assert not any(casual.search(text) for text in later), later
    assert checked > 20


def test_a_dropped_request_is_followed_by_words_only(written):
    for conversation in of(written, "correction", "dropped"):
        turn = user_places(conversation)[conversation.metadata["dropped"]]
        assert all(place < turn for place, *_ in calls(conversation))


def test_what_was_booked_is_cancelled_before_it_is_booked_anew(written):
    for conversation in of(written, "correction", "rebooked"):
        (_, book, made), (_, cancel, status), (_, anew, again) = calls(conversation)
        identifier = next(value for value in made.values() if str(value) in cancel.arguments)
        assert "error" not in status
        assert book.name == anew.name and book.arguments != anew.arguments
        assert identifier not in again.values()
    for conversation in of(written, "correction", "moved"):
        (_, _, made), (_, move, status) = calls(conversation)
        assert any(str(value) in move.arguments for value in made.values()) and "error" not in status


def test_recovery_fails_as_noted_and_then_succeeds(written):
    for conversation in of(written, "recovery"):
        made = list(calls(conversation))
        for failure in conversation.metadata["errors"]:
            result = made[failure["call"]][2]
            assert result == {"results": []} if failure["error"] == "empty" else result["error"] == failure["error"]
        failed = {failure["call"] for failure in conversation.metadata["errors"]}
        last = made[-1]
        assert len(made) - 1 not in failed and "error" not in last[2] and last[2].get("results") != []
        assert last[1].name == made[0][1].name


def test_after_an_error_the_user_decides_unless_the_error_says_how_to_repair_the_call(written):
    for conversation in of(written, "recovery"):
        (first, *_), (second, *_) = calls(conversation)
        repaired = conversation.metadata["kind"] in ("respelled", "capped")
        assert len(user_places(conversation)) == (1 if repaired else 2)
        if not repaired:
            assert first < user_places(conversation)[1] < second


def test_an_alternative_that_is_taken_was_offered(written):
    rewritten = 0
    for conversation in of(written, "recovery", "sold_out", "conflict"):
        (_, failed, error), (place, again, _) = calls(conversation)
        old, new = json.loads(failed.arguments), json.loads(again.arguments)
        shown = {str(value) for value in error.values() if not isinstance(value, list)}
        taken = [value for value in leaves(new) if value not in leaves(old)]
        # The error writes values as the call does, under whatever form the tool's face gives them.
        assert taken and taken[0] in error["available"] and shown & set(map(str, leaves(old)))
        rewritten += any("form" in span for span in conversation.metadata["calls"][0]["spans"].values())
        said = before(conversation, place, "assistant")
        moments = [str(value) for value in error["available"] if re.match(r"\d+[-/:.]\d", str(value))]
        assert all(moment in said for moment in moments)  # members of an enum are told in words
    assert rewritten > 3


def test_a_value_that_is_withheld_is_not_made_up(written):
    for conversation in of(written, "slot_filling", "withheld"):
        assert not list(calls(conversation)) and conversation.metadata["withheld"] == conversation.metadata["missing"]


def test_a_partial_answer_is_asked_about_again(written):
    for conversation in of(written, "slot_filling", "partial"):
        assert len(user_places(conversation)) == 3
        (again,) = conversation.metadata["asked_again"]
        assert again in conversation.metadata["missing"]
        question = conversation.messages[user_places(conversation)[1] + 1].content
        assert again["noun"].casefold() in question.casefold()


def test_an_identifier_the_user_does_not_know_is_looked_up(written):
    for conversation in of(written, "slot_filling", "looked_up"):
        (found,) = conversation.metadata["looked_up"]
        _, (place, call, result) = calls(conversation)
        (identifier,) = [
            v for noted in conversation.metadata["calls"] for s in noted["spans"].values() for v in from_results(s)
        ]
        assert identifier in before(conversation, place, "tool") and identifier in call.arguments
        assert identifier not in before(conversation, place, "user") and "error" not in result
        assert found["noun"].casefold() in conversation.messages[user_places(conversation)[0] + 1].content.casefold()


def test_a_day_that_can_be_several_is_asked_about_before_the_call(written):
    for conversation in of(written, "slot_filling", "unclear"):
        unclear = conversation.metadata["ambiguous"]
        first, second = user_places(conversation)
        assert unclear["text"] in conversation.messages[first].content and len(set(unclear["readings"])) > 1
        assert all(place > second for place, *_ in calls(conversation))


def test_negatives_call_nothing_and_come_in_sensible_proportion(written):
    negatives = of(written, "negative")
    assert not any(list(calls(c)) for c in negatives)
    shares = Counter(c.metadata["negative"] for c in negatives)
    assert all(shares[kind] >= 0.04 * len(negatives) for kind in KINDS)
    assert max(shares.values()) < 0.55 * len(negatives)


def test_an_answer_from_the_context_stands_in_the_users_words(written):
    for conversation in of(written, "negative", "in_context"):
        place = user_places(conversation)[0]
        said, reply = (conversation.messages[place + i].content for i in (0, 1))
        numbers = [word for word in reply.replace("，", " ").split() if any(char.isdigit() for char in word)]
        assert all(word.strip(".。,是您写的") in said for word in numbers if word.isascii())


def contrasts(written: list[Conversation]) -> dict[str, dict[str, Conversation]]:
    pairs: dict[str, dict[str, Conversation]] = defaultdict(dict)
    for conversation in written:
        if contrast := conversation.metadata.get("contrast"):
            pairs[contrast["pair"]][contrast["role"]] = conversation
    return pairs


def test_halves_of_a_contrast_pair_share_words_and_differ_in_what_is_due(written):
    pairs = contrasts(written)
    kinds = Counter(pair.partition("-")[0] for pair in pairs)
    assert min(kinds["tool"], kinds["slot"]) >= 8
    for halves in pairs.values():
        have, lack = halves["with"], halves["without"]
        words = [c.messages[user_places(c)[0]].content for c in (have, lack)]
        (_, call, _) = next(calls(have))
        if have.metadata["contrast"]["of"] == "tool":
            assert words[0] == words[1] and lack.category == "negative"
            assert have.metadata["tools"][call.name] not in lack.metadata["tools"].values()
        else:
            assert words[0].startswith(words[1]) and words[0] != words[1] and have.tools == lack.tools
            assert [c.arguments for _, c, _ in calls(have)] == [c.arguments for _, c, _ in calls(lack)]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_contrast_pairs_leave_the_quotas_exact(share):
    config = GenerateConfig(num_conversations=240, contrast=share)
    teacher = ProgrammaticTeacher(config, seed=3)
    made = [teacher.conversation(i) for i in range(240)]
    assert Counter(c.category for c in made) == apportion(config.shares, 240)
    assert bool(contrasts(made)) == bool(share)


def test_thoughts_name_the_tool_and_come_in_many_layouts(written):
    openings: dict[str, Counter[str]] = {"en": Counter(), "zh": Counter()}
    for conversation in written:
        for message in conversation.messages:
            if message.tool_calls:
                assert all(call.name in message.thought for call in message.tool_calls)
                openings[conversation.language][layout(message)] += 1
    for language, table in openings.items():
        common = [count for _, count in table.most_common(6)]
        assert len(common) == 6 and common[0] < 0.5 * table.total(), language
        assert all(len(options) >= 4 for options in layouts()[language].values())


def layout(message: Message) -> str:
    """The thought without the tool and without what it says about values."""
    first = message.thought.partition(message.tool_calls[0].name)[0]
    return first[:8]


def test_the_old_category_names_its_successors():
    with pytest.raises(ConfigError, match=r"multi_turn.*`chain`.*`recovery`"):
        ProgrammaticTeacher(GenerateConfig(shares={"multi_turn": 1.0}), seed=0)


def test_numbers_are_linked_between_tools_and_parameters_that_exist():
    tools = {tool.id: tool for tool in load_catalogue().tools}
    linked = [
        (a.id, link.field, b.id, link.key)
        for a in tools.values()
        for b in tools.values()
        for link in links(a, b)
        if link.kind == "number"
    ]
    assert len(linked) >= 12
    for producer, field, consumer, key in linked:
        assert field in tools[producer].out and key in {p.key for p in tools[consumer].params}


def test_nothing_is_made_and_undone_in_one_breath(written):
    acts = {tool.id: tool.act for tool in load_catalogue().tools}
    for conversation in of(written, "chain", "within"):
        used = [acts[conversation.metadata["tools"][call.name]] for _, call, _ in calls(conversation)]
        assert used[0] not in ("create", "book") or used[1] != "cancel"


def test_both_halves_of_a_pair_give_a_preference(written):
    pairs = PreferencePairs(partial(first_failure, GATES), 1, sqlite3.connect(":memory:"))
    halves = [half for pair in contrasts(written).values() for half in pair.values()]
    made = [record for half in halves for record in pairs(half) if record["kind"] == "contrast"]
    assert len(made) >= 0.9 * len(halves)
    for record in made:
        calls_of = [bool(record[side][0].get("tool_calls")) for side in ("chosen", "rejected")]
        assert sorted(calls_of) == [False, True]


def test_chinese_asks_for_numbers_with_how_much(written):
    asked = [m.content or "" for c in of(written, "slot_filling") if c.language == "zh" for m in c.messages]
    assert any(re.search("(?:体重|半径|质量|速度|年利率|电压|边长|高)是?多少|请问是多少", text) for text in asked)
    assert not [text for text in asked if re.search("(?:体重|半径|质量|速度|年利率|电压|边长|高|价格)是什么", text)]


def test_a_value_is_refused_without_a_reason_only_where_nothing_better_can_happen(written):
    kinds = Counter(c.metadata["kind"] for c in of(written, "recovery") if c.language == "zh")
    assert kinds["refused"] < 0.15 * sum(kinds.values()) < 2 * kinds["misspelt"]


def test_several_things_made_by_one_tool_are_reported_in_one_sentence():
    config = GenerateConfig(num_conversations=800, shares={"parallel": 1.0}, languages={"zh": 1.0})
    teacher = ProgrammaticTeacher(config, seed=3)
    answers = [str(teacher.conversation(i).messages[-1].content) for i in range(800)]
    several = [text for text in answers if "编号" in text]
    assert any(re.search("编号(?:依次是|分别是|分别为)[^。]+和[^。]+。$", text) for text in several)
    assert not [text for text in several if re.search(r"(.{2,6})编号(?:是|：|为).*\1编号(?:是|：|为)", text)]
