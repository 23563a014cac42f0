"""Gates refuse what is wrong, each for its own reason, and leave alone what is right."""

import json
import random
from dataclasses import replace

import pytest

from benchmarks.corruptions import CORRUPTIONS
from data_pipeline.gates import GATES, first_failure, first_failures
from data_pipeline.gates.reading import Reading
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.replay import replays
from fcdist.config.types import GenerateConfig
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

TEXT_ONLY = ("wrong name", "invented id", "missing argument", "unknown tool", "dropped tool", "invented fact in answer")
"""Ways to spoil a row that show without any declaration of the writer."""
HOTEL = Tool(
    "book_hotel",
    "Book a hotel.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "City."},
            "check_in": {"type": "string", "description": "Day, YYYY-MM-DD."},
            "nights": {"type": "integer", "description": "Number of nights."},
            "room": {"type": "string", "enum": ["single", "double"], "description": "Kind of room."},
        },
        "required": ["city"],
    },
)


@pytest.fixture(scope="module")
def teacher() -> ProgrammaticTeacher:
    return ProgrammaticTeacher(GenerateConfig(num_conversations=900), seed=21)


@pytest.fixture(scope="module")
def good(teacher) -> list[Conversation]:
    return [teacher.conversation(i) for i in range(900)]


def test_nothing_that_is_right_is_refused(good, teacher):
    refused = [(r, c.id) for c in good if (r := first_failure(GATES, c) or replays(c, teacher.execute))]
    assert refused == []


@pytest.mark.parametrize("way", CORRUPTIONS)
def test_what_is_spoilt_is_refused(way, good, teacher):
    rng = random.Random(way)
    spoilt = [s for c in good if (s := CORRUPTIONS[way](c, rng)) not in (None, c)][:30]
    assert len(spoilt) >= 5
    missed = [s for s in spoilt if first_failure(GATES, s) is None and replays(s, teacher.execute) is None]
    assert len(missed) <= 0.04 * len(spoilt), [[m.content for m in s.messages] for s in missed[:2]]


def test_many_are_judged_as_each_of_them_is(good):
    rng = random.Random(0)
    mixed = [CORRUPTIONS[rng.choice(list(CORRUPTIONS))](c, rng) or c for c in good[:250]]
    alone = [first_failure(GATES, c) for c in mixed]
    assert first_failures(GATES, mixed) == alone and len(set(alone)) > 10 and None in alone


def test_rows_that_declare_nothing_are_read_by_their_words(good):
    plain = [replace(c, metadata=None) for c in good]
    refused = [(reason, c.id) for c in plain if (reason := first_failure(GATES, c)) is not None]
    assert len(refused) <= 0.02 * len(plain), refused[:5]
    for way in TEXT_ONLY:
        rng = random.Random(way)
        spoilt = [s for c in plain if (s := CORRUPTIONS[way](c, rng)) not in (None, c)][:60]
        caught = sum(first_failure(GATES, s) is not None for s in spoilt)
        assert caught >= 0.9 * len(spoilt) > 0, (way, caught, len(spoilt))


def dialogue(*turns: tuple, tools=(HOTEL,), **fields) -> Conversation:
    """("user", text), ("call", arguments), ("tool", result), ("assistant", text) → a conversation."""
    messages = []
    for number, (role, said) in enumerate(turns):
        if role == "call":
            call = ToolCall(f"call_{number}", tools[0].name, json.dumps(said, ensure_ascii=False))
            messages.append(Message("assistant", tool_calls=(call,)))
        elif role == "tool":
            call_id = messages[-1].tool_calls[0].id
            messages.append(Message("tool", json.dumps(said, ensure_ascii=False), tool_call_id=call_id))
        else:
            messages.append(Message(role, said))
    return Conversation(tuple(messages), tools, **fields)


def booked(
    user: str, arguments: dict, answer: str = "Here is what I found.", system: str = "", **result
) -> Conversation:
    """One request, one call, one answer."""
    opening = [("system", system)] if system else []
    return dialogue(
        *opening, ("user", user), ("call", arguments), ("tool", {"state": "open", **result}), ("assistant", answer)
    )


@pytest.mark.parametrize(
    ("user", "arguments"),
    [
        (
            "A double room in NYC from the 12th, please",
            {"city": "New York", "check_in": "2025-03-12", "room": "double"},
        ),
        ("Two nights in San Fran, quarter to eight", {"city": "San Francisco", "nights": 2}),
        ("A room for me and my wife in Portland, OR", {"city": "Portland", "nights": 2}),
        ("我想在上海住三晚，2025年3月12号入住", {"city": "上海", "nights": 3, "check_in": "2025-03-12"}),
        ("帮我订魔都的酒店", {"city": "上海"}),
        ("2025-03-12入住罗马的酒店", {"city": "罗马", "check_in": "2025年3月12日"}),
        ("3月12号入住罗马的酒店", {"city": "罗马", "check_in": "2025年3月12日"}),
        ("Rome, arriving 2025-03-12T10:00:00", {"city": "Rome", "check_in": "2025年3月12日 10:00:00"}),
        ("罗马，2025-03-12，时间：10:00", {"city": "罗马", "check_in": "2025年3月12日早上10点"}),
        ("法国的酒店", {"city": "fr"}),
        ("a hotel in France", {"city": "法国"}),
        ("卢浮宫附近的酒店", {"city": "卢浮宫博物馆"}),
        ("90年代开业的罗马酒店", {"city": "罗马", "nights": 1990}),
        ("write to me@example.com about Rome", {"city": "Me <me@example.com>"}),
        ("a hotel in the District of Columbia", {"city": "Washington D.C."}),
        ("25 degrees Celsius in Rome", {"city": "C"}),
        ("a hotel in Philadelfia", {"city": "Philadelphia"}),
    ],
)
def test_values_are_recognised_the_way_people_say_them(user, arguments):
    assert first_failure(GATES, booked(user, arguments)) is None


@pytest.mark.parametrize(
    ("user", "arguments"),
    [
        ("A hotel in Rome", {"city": "Vienna"}),
        ("A hotel in Rome for 3 nights", {"city": "Rome", "nights": 4}),
        ("A hotel in Rome on March 12", {"city": "Rome", "check_in": "2025-03-13"}),
        ("A single room in Rome", {"city": "Rome", "room": "double"}),
        ("订一家杭州的酒店", {"city": "苏州"}),
        ("罗马的酒店，3月12日入住", {"city": "罗马", "check_in": "2025年3月13日"}),
        ("罗马的酒店，2025-03-12上午10点", {"city": "罗马", "check_in": "2025年3月12日11点"}),
        ("法国的酒店", {"city": "de"}),
        ("a hotel near my présent address", {"city": "es"}),
        ("it is in Rome", {"city": "意大利"}),
        ("80年代开业的罗马酒店", {"city": "罗马", "nights": 1990}),
        ("write to boss@company.com", {"city": "老板@company.com"}),
        ("我叫John Doe，订罗马的酒店", {"city": "约翰·多伊"}),
        ("订一家杭州的酒店，住3晚", {"city": "杭州", "nights": 13}),
    ],
)
def test_values_from_nowhere_are_refused(user, arguments):
    system = "Today is 2025-03-01."
    assert first_failure(GATES, booked(user, arguments, system=system)) == "grounding: value_from_nowhere"


@pytest.mark.parametrize(
    ("said", "language", "refused"),
    [
        ("把“我爱学习”翻译成西班牙语", "zh", False),
        ("把“我爱学习”翻译成西班牙语", "es", False),
        ("把“我爱学习”翻译成西班牙语", "fr", True),
        ("Translate 'I love learning' for me", "en", False),
        ("Translate 'I love learning' for me", "zh-CN", True),
    ],
)
def test_a_text_tells_its_language(said, language, refused):
    translate = Tool("translate", "Translate.", {"type": "object", "properties": {"language": {"type": "string"}}})
    row = dialogue(
        ("user", said),
        ("call", {"language": language}),
        ("tool", {"ok": 1}),
        ("assistant", "Done."),
        tools=(translate,),
    )
    assert (first_failure(GATES, row) == "grounding: value_from_nowhere") == refused


CODE = Tool(
    "Run",
    "Run code.",
    {"type": "object", "properties": {"Code": {"type": "string"}, "Other": {"type": "string"}}, "required": ["Code"]},
)


@pytest.mark.parametrize(
    ("thought", "reason"),
    [
        ("Run: Code: `x = 2 + 3` = x = 2 + 3, Other: y", None),
        ("Run: Code: x = 2 + 3, Other: y", None),
        ("Run: Code: the sum = x = 2 + 3, Other: y", None),
        ("Run: Code: `x = 2 + 3` = x = 2 + 4, Other: y", "thought_tells_other_value"),
        ("Run: Code: y, Other: z = y", "thought_tells_other_value"),
        ("Other: to run code\nRun\n- Code: x = 2 + 3\n- Other: y", None),
        ("Other: z. Run", "thought_tells_other_value"),
        ("Other: to run code\nRun\n- Code: x = 2 + 3\n- Other: z", "thought_tells_other_value"),
        ("Run it (Other: z, Code: x = 2 + 3, Other: y)", "thought_tells_other_value"),
        ("Run: Code: x = 2 + 3, Other: z = a, more = y", "thought_tells_other_value"),
    ],
)
def test_values_in_thoughts_may_be_code(thought, reason):
    arguments = {"Code": "x = 2 + 3", "Other": "y"}
    call = ToolCall("c", "Run", json.dumps(arguments))
    turns = (Message("user", "run x = 2 + 3 and y, 4"), Message("assistant", thought=thought, tool_calls=(call,)))
    row = Conversation(
        (*turns, Message("tool", "{}", tool_call_id="c"), Message("assistant", "Done.")),
        (CODE,),
        metadata={"calls": [{"name": "Run", "spans": arguments}]},
    )
    assert first_failure(GATES, row) == (f"thoughts: {reason}" if reason else None)


def test_a_search_that_found_nothing_may_be_loosened():
    for found, reason in (([], None), ([{"n": 1}], "grounding: value_from_nowhere")):
        said = dialogue(
            ("user", "a hotel in Rome for 3 nights"),
            ("call", {"city": "Rome", "nights": 3}),
            ("tool", {"results": found}),
            ("call", {"city": "Rome", "nights": 7}),
            ("tool", {"results": [{"n": 1}]}),
            ("assistant", "There is one."),
        )
        assert first_failure(GATES, said) == reason


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        ("It is $120 a night.", {"price": 120}, None),
        ("It is $1.2k a night.", {"price": 1200}, None),
        ("About 4.6 stars.", {"rating": 4.58}, None),
        ("It is $125 a night.", {"price": 120}, "answers: answer_has_other_number"),
        ("You leave at 1:20 pm.", {"leaves": "13:20"}, None),
        ("You leave at 1:40 pm.", {"leaves": "13:20"}, "answers: answer_has_other_time"),
        ("See you on March 3rd.", {"day": "2025-03-03"}, None),
        ("See you on March 4th.", {"day": "2025-03-03"}, "answers: answer_has_other_date"),
        ("Your number is BK-77812.", {"code": "BK-77812"}, None),
        ("Your number is BK-77813.", {"code": "BK-77812"}, "answers: answer_has_other_identifier"),
        ("I chose the Grand Meridian for you.", {"hotel": "Grand Meridian"}, None),
        ("I chose the Silver Anchor Inn for you.", {"hotel": "Grand Meridian"}, "answers: answer_has_other_name"),
        ("Call 0171 555 2424.", {"phone": "01715552424"}, None),
        (
            "1. Luna at $80\n2. Sol at $95",
            {"rooms": [{"name": "Luna", "price": 80}, {"name": "Sol", "price": 95}]},
            None,
        ),
        ("相差5年3个月。", {"gap": "五年三个月"}, None),
        ("I found nothing.", {"price": 120}, "answers: answer_denies_result"),
    ],
)
def test_answers_tell_what_results_say(answer, result, reason):
    said = booked("a hotel in Rome", {"city": "Rome"}, answer, system="Today is 2025-03-01.", **result)
    assert first_failure(GATES, said) == reason


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("Sorry, Rome is fully booked. Shall I try another city?", False),
        ("Done, your room has been booked.", True),
        ("抱歉，已经没有房间了。", False),
        ("已为您预订成功！", True),
    ],
)
def test_no_success_is_claimed_after_an_error(answer, refused):
    said = dialogue(
        ("user", "罗马的酒店 a hotel in Rome"),
        ("call", {"city": "Rome"}),
        ("tool", {"error": "sold_out"}),
        ("assistant", answer),
    )
    assert (first_failure(GATES, said) == "failures: success_claimed_after_error") == refused


def test_a_failed_call_is_not_made_again_as_it_was():
    again = [("call", {"city": "Rome"}), ("tool", {"error": "not_found"})]
    said = dialogue(("user", "a hotel in Rome"), *again, *again, ("assistant", "I could not find it."))
    assert first_failure(GATES, said) == "failures: failed_call_repeated"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Write to jane@example.com.", None),
        ("Write to jane.roe@mailhost.net.", "personal_data: invented_email"),
        ("I am an assistant and can book hotels.", None),
        ("As an AI language model I cannot travel.", "identity: claims_other_identity"),
        ("我是通义千问。", "identity: claims_other_identity"),
        ("OpenAI opened an office in Rome.", None),
        ("very very good and good and good", None),
        ("go to the shop go to the shop go to the shop now", "repetition: repeated_words"),
    ],
)
def test_conduct(text, reason):
    said = Conversation((Message("user", "Tell me something."), Message("assistant", text)))
    assert first_failure(GATES, said) == reason


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("4539 1488 0343 6467", "personal_data: card_number"),
        ("4539 1488 0343 6468", None),
        ("4111 1111 1111 1111", None),
        ("11010519491231002X", "personal_data: national_id"),
        ("110105194912310021", None),
    ],
)
def test_numbers_that_could_be_somebodys_are_refused(number, reason):
    said = Conversation((Message("user", f"Mine is {number}, keep it."), Message("assistant", "Better not.")))
    assert first_failure(GATES, said) == reason


def test_a_weekday_belongs_to_its_date():
    right, wrong = (
        booked("a hotel in Rome", {"city": "Rome"}, system=f"Today is {d}.")
        for d in ("Saturday, 2025-03-01", "Friday, 2025-03-01")
    )
    assert first_failure(GATES, right) is None
    assert first_failure(GATES, wrong) == "calendar: weekday_of_other_date"


def test_what_gates_share_is_made_once_a_conversation(good):
    reading, other = Reading(good[0]), Reading(good[1])
    made = []
    views = [of.view(made.append) for of in (reading, reading, other)]
    assert made == [reading, other] and views == [None] * 3


def test_replay_needs_the_same_results_in_the_same_number(good, teacher):
    row = next(c for c in good if c.category == "single")
    assert replays(row, teacher.execute) is None
    assert replays(row, lambda c: []) == "replay: result_differs"
    assert replays(row, lambda c: [*teacher.execute(c), {}]) == "replay: result_differs"
    assert replays(replace(row, metadata={}), teacher.execute) == "replay: not_executable"
