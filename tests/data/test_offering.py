"""General chat under tool prompts: which, how many, and what stays as it is."""

from dataclasses import replace

import pytest
from conversations import chat, tool_conversation, weather, write_jsonl
from stores import small_config, small_renderer, with_data

from fcdist.config.run_folder import store_dir
from fcdist.data.offering import CANDIDATES, WITH_TOOLS, ToolOffers
from fcdist.data.store import build_store, open_store
from fcdist.errors import ConfigError, DataError
from fcdist.schema.conversation import Conversation, Message, Tool

SYSTEM = Message("system", "Be brief. It is Monday, 2024-05-06.")


def question(text):
    return Conversation((Message("user", text), Message("assistant", "Well.")))


def offers(share=1.0, tools=("weather_by_city",), max_tokens=2048):
    some = ToolOffers(share, max_tokens, seed=3)
    for name in tools:
        call = tool_conversation(0, Tool(name, f"Use it: {name}", weather().parameters))
        some.collect([replace(call, messages=(SYSTEM, *call.messages))])
    return some


def test_the_prompt_is_one_of_the_function_call_data_with_its_system_message():
    offered = offers().offer(chat(1))
    assert offered.messages == (SYSTEM, *chat(1).messages)
    assert [tool.name for tool in offered.tools] == ["weather_by_city"]
    assert offered.category == WITH_TOOLS and offered.id == chat(1).id


def test_the_share_is_met_and_equal_conversations_are_treated_alike():
    some = offers(share=0.25, tools=[f"tool_{i}" for i in range(9)])
    results = [some.offer(chat(i)) for i in range(2000)]
    assert 430 < sum(bool(c.tools) for c in results) < 570
    again = [some.offer(replace(chat(i), id="other")) for i in range(2000)]
    assert [c.tools for c in results] == [c.tools for c in again]
    assert len({c.tools[0].name for c in results if c.tools}) == 9


@pytest.mark.parametrize(
    "kept",
    [
        tool_conversation(1),
        Conversation((Message("system", "Rhyme."), *chat(1).messages)),
        question("word " * 2000),
    ],
    ids=["has tools", "has a system message", "too long"],
)
def test_what_cannot_be_put_under_a_prompt_stays_as_it_is(kept):
    assert offers().offer(kept) is kept


def test_without_function_calls_nothing_is_offered():
    assert offers(tools=()).offer(chat(1)) == chat(1)


@pytest.mark.parametrize("text", ["How is the weather today?", "Which WEATHERS do poets like?"])
def test_a_tool_of_which_the_talk_speaks_is_not_offered_where_there_is_another(text):
    some = offers(tools=["weather_by_city", *(f"bookTable{i}" for i in range(CANDIDATES - 1))])
    assert some.offer(question(text)).tools[0].name.startswith("bookTable")


def test_chinese_is_compared_by_pairs_of_characters():
    some = ToolOffers(1.0, 2048, seed=1)
    for name, description in (("a", "查询城市天气"), ("b", "预订餐厅")):
        some.collect([tool_conversation(0, Tool(name, description, weather().parameters))])
    assert some.offer(question("今天天气怎么样")).tools[0].name == "b"
    assert some.offer(question("哪家餐厅好吃")).tools[0].name == "a"


@pytest.mark.parametrize("order", [("calls", "chats"), ("chats", "calls")])
def test_a_store_has_the_share_in_training_and_plain_chat_in_validation(order, tmp_path):
    cfg = small_config(tmp_path, num_calls=40, num_chats=200, validation_fraction=0.2)
    write_jsonl(tmp_path / "chats.jsonl", [question(f"What rhymes with word {i}?") for i in range(200)])
    sources = {name: cfg.data.sources[name] for name in order}
    cfg = with_data(cfg, sources=sources, general_tool_share=0.4, general_ratio=0.0)
    build_store(cfg, small_renderer())
    train, validation = (open_store(store_dir(cfg), split=split) for split in ("train", "validation"))
    offered = [row for row in range(len(train)) if train.conversation(row).category == WITH_TOOLS]
    assert 40 <= len(offered) <= 88
    assert all(train.is_general[row] and train.source(row) == "chats" for row in offered)
    assert all(train.prefix_lens[row] > 0 for row in offered)
    chats = [validation.conversation(row) for row in range(len(validation)) if validation.is_general[row]]
    assert 10 <= len(chats) < 40 and not any(c.tools for c in chats)
    texts = {c.messages[-2].content for c in chats}
    assert not texts & {train.conversation(row).messages[-2].content for row in range(len(train))}


def test_chat_of_a_validation_source_stays_as_it_is(tmp_path):
    cfg = small_config(tmp_path, num_chats=40)
    sources = cfg.data.sources | {"chats": replace(cfg.data.sources["chats"], use="validation")}
    cfg = with_data(cfg, sources=sources, general_tool_share=1.0, general_ratio=0.0)
    build_store(cfg, small_renderer())
    validation = open_store(store_dir(cfg), split="validation")
    assert len(validation) == 40 and not any(validation.conversation(row).tools for row in range(40))


def test_the_share_belongs_to_the_fingerprint(tmp_path):
    cfg = small_config(tmp_path)
    first = build_store(cfg, small_renderer()).fingerprint
    assert build_store(with_data(cfg, general_tool_share=0.5), small_renderer()).fingerprint != first


def test_a_share_above_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.general_tool_share=1\.5 must be between 0 and 1"):
        small_config(tmp_path, general_tool_share=1.5)


def test_a_share_without_function_calls_is_refused(tmp_path):
    cfg = small_config(tmp_path, general_tool_share=0.5, general_ratio=0.0)
    with pytest.raises(DataError, match=r"data\.general_tool_share=0\.5 .*role: function_call, or set the share to 0"):
        build_store(with_data(cfg, sources={"chats": cfg.data.sources["chats"]}), small_renderer())
