"""Benchmarks stay out of the training data."""

import json

import pytest
from merge_fakes import called, chatted, tool

from data_pipeline.decontaminate import References, bfcl_files, tool_signature
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Tool

LONG = "could you please book me a quiet room with a view of the lake for next weekend"


def references(tmp_path, *records, name="bench.json", ngram=13):
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(record) for record in records))
    found = References(ngram)
    found.read(path)
    return found


LAYOUTS = {
    "openai": {"id": "q1", "messages": [{"role": "user", "content": LONG}]},
    "sharegpt": {"id": "q1", "conversations": [{"from": "human", "value": LONG}]},
    "bfcl": {"id": "q1", "question": [[{"role": "user", "content": "hi"}], [{"role": "user", "content": LONG}]]},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_thirteen_shared_tokens_are_found_in_every_layout(tmp_path, layout):
    found = references(tmp_path, LAYOUTS[layout])
    words = LONG.split()
    hit = found.check(chatted("Well then: " + " ".join(words[1:14]).upper() + "!", tools=(tool("a"),)))
    assert (hit.reason, hit.reference, hit.text) == ("user_turn", "q1", " ".join(words[1:14]))
    assert found.check(chatted("Well then: " + " ".join(words[1:13]) + " or so", tools=(tool("a"),))) is None


def test_short_turns_count_whole_and_very_short_ones_do_not(tmp_path):
    found = references(
        tmp_path, {"messages": [{"role": "user", "content": text} for text in ("a b c d e f g", "yes please")]}
    )
    assert found.check(chatted("A b c, d e f g?")).text == "a b c d e f g"
    assert found.check(chatted("a b c d e f g h")) is None
    assert found.check(chatted("yes, please")) is None


def test_assistant_turns_of_references_do_not_count(tmp_path):
    found = references(
        tmp_path, {"messages": [{"role": "assistant", "content": LONG}], "question": "who is there now my dear friend"}
    )
    assert found.check(chatted(LONG)) is None and found.num_turns == 1


@pytest.mark.parametrize(
    "record",
    [
        {
            "function": [
                {"name": "find.hotel", "parameters": {"type": "dict", "properties": {"City": {"type": "string"}}}}
            ]
        },
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "FindHotel", "parameters": {"properties": {"city": {"type": "string"}}}},
                }
            ]
        },
        {"tools": '[{"name": "find_hotel", "parameters": {"properties": {"city": {"type": "string"}}}}]'},
        {"name": "find_hotel", "parameters": {"properties": {"city": {"type": "string"}}}},
        {"tools": [{"name": "find_hotel", "inputSchema": {"properties": {"city": {"type": "string"}}}}]},
    ],
)
def test_tool_signatures_are_found_in_every_layout(tmp_path, record):
    found = references(tmp_path, record)
    hit = found.check(called("Book a room", {"city": "Oslo"}, tools=(tool("other"), tool("find_hotel"))))
    assert (hit.reason, hit.text) == ("tool_signature", "findhotel(city:string)")
    assert (
        found.check(called("Book a room", {"city": "x", "day": "y"}, tools=(tool("find_hotel", "city", "day"),)))
        is None
    )


def test_types_of_benchmarks_are_read_as_json_schema_types():
    def signature(kind):
        return tool_signature(Tool("f", "", {"type": "object", "properties": {"x": {"type": kind}}}))

    assert signature("float") == signature("number") and signature("dict") == signature("object")
    assert signature("number") != signature("string")
    assert signature(["string", "null"]) == "f(x:null|string)"


def test_plain_text_and_arrays(tmp_path):
    (tmp_path / "turns.txt").write_text(f"one two three four five six\n\n{LONG}\n")
    (tmp_path / "all.json").write_text(json.dumps([LAYOUTS["openai"], LAYOUTS["sharegpt"]], indent=1))
    found = References()
    found.read(tmp_path / "turns.txt")
    found.read(tmp_path / "all.json")
    assert found.num_turns == 4 and found.check(chatted(LONG)).reference == "turns.txt:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"bench.json:1: not JSON"),
        ('{"text": "x"}', r"bench.json:1: holds neither user turns .* nor tools"),
        ("[1]", r"bench.json: record 0: holds neither"),
    ],
)
def test_unusable_reference_is_named(tmp_path, text, message):
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(GenerationError, match=message):
        References().read(tmp_path / "bench.json")


def test_missing_reference_is_named(tmp_path):
    with pytest.raises(GenerationError, match=r"merge.decontaminate: .*gone.json cannot be read"):
        References().read(tmp_path / "gone.json")


def test_installed_bfcl_is_read_whole():
    files = bfcl_files()
    if files is None:
        pytest.skip("bfcl-eval is not installed")
    found = References()
    for path in files:
        found.read(path)
    assert found.num_turns > 5000 and found.num_tools > 2000
    assert (
        found.check(chatted("Find the area of a triangle with a base of 10 units and height of 5 units.")).reason
        == "user_turn"
    )
