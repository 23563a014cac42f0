"""The programmatic teacher: pure in (seed, index), exact quotas, every conversation passes every gate."""

import gc
import json
import random
import weakref
from collections import Counter
from functools import partial
from itertools import pairwise

import pytest

from data_pipeline import programmatic
from data_pipeline.catalogue import load_catalogue
from data_pipeline.gates import GATES, first_failure, first_failures
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.replay import replays
from data_pipeline.scenarios import CATEGORIES, apportion
from data_pipeline.shard_worker import plan_shards, write_shard
from data_pipeline.teachers import PlannedTeacher, collector_paused
from data_pipeline.toolsets import build_tool_set
from fcdist.config.types import GenerateConfig
from fcdist.errors import ConfigError
from fcdist.schema.checks import check_tools
from fcdist.schema.conversation import Conversation

HELD_OUT = ("agriculture", "real_estate", "astronomy", "pets")


def wire(conversation: Conversation) -> str:
    return json.dumps(conversation.to_wire(), ensure_ascii=False)


@pytest.fixture(scope="module")
def written() -> list[Conversation]:
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=800), seed=5)
    return [teacher.conversation(i) for i in range(800)]


def test_a_conversation_depends_on_seed_and_index_alone(written):
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=800), seed=5)
    order = list(range(800))
    random.Random(0).shuffle(order)
    for index in order[:150]:
        assert wire(teacher.conversation(index)) == wire(written[index])
    other = ProgrammaticTeacher(GenerateConfig(num_conversations=800), seed=6)
    assert wire(other.conversation(0)) != wire(written[0])


def test_tools_that_were_written_are_forgotten():
    """Memory does not grow with the number of conversations: no cache holds a tool set, and no circle."""
    teacher = ProgrammaticTeacher(
        GenerateConfig(num_conversations=400, conversations_per_tool_set=1, shard_size=50), seed=5
    )
    kept = []
    gc.collect()
    with collector_paused():
        for index in range(400):
            conversation = teacher.conversation(index)
            assert first_failure(GATES, conversation) is None and replays(conversation, teacher.execute) is None
            kept.append(weakref.ref(conversation.tools[0]))
        assert not any(tool() for tool in kept[:100])
        assert kept[-1]() is not None


@pytest.mark.parametrize("per_set", [1, 8])
def test_a_shard_builds_each_of_its_tool_sets_once(per_set, tmp_path, monkeypatch):
    built: Counter[str] = Counter()

    def counted(set_id, *rest):
        built[set_id] += 1
        return build_tool_set(set_id, *rest)

    monkeypatch.setattr(programmatic, "build_tool_set", counted)
    config = GenerateConfig(num_conversations=1000, conversations_per_tool_set=per_set, shard_size=200, contrast=1.0)
    planner = ProgrammaticTeacher(config, seed=5)
    middle = plan_shards(tmp_path, 1000, 200)[2]
    write_shard(middle, PlannedTeacher(planner, execute=planner.execute), partial(first_failures, GATES), "")
    assert set(built.values()) == {1}


def test_another_attempt_keeps_the_cell_and_the_tools(written):
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=800), seed=5)
    again = [teacher.conversation(i, attempt=1) for i in range(40)]
    assert [(c.category, c.language, c.tools) for c in again] == [
        (c.category, c.language, c.tools) for c in written[:40]
    ]
    assert sum(wire(a) != wire(b) for a, b in zip(again, written, strict=False)) > 35


def test_quotas_are_exact(written):
    config = GenerateConfig(num_conversations=800)
    assert Counter(c.category for c in written) == apportion(config.shares, 800)
    assert Counter(c.language for c in written) == apportion(config.languages, 800)
    assert len({c.id for c in written}) == 800


def test_everything_written_passes_every_gate(written):
    assert {(c.category, c.language) for c in written} == {(k, lang) for k in CATEGORIES for lang in ("en", "zh")}
    assert [(c.id, reason) for c in written if (reason := first_failure(GATES, c))] == []


def test_neighbours_share_tools_and_system_message_byte_for_byte(written):
    for start in range(0, 800, 8):
        block = written[start : start + 8]
        assert len({json.dumps([t.to_wire() for t in c.tools]) for c in block}) == 1
        assert len({c.messages[0].content if c.messages[0].role == "system" else None for c in block}) == 1


def test_every_tool_is_a_valid_schema_and_set_sizes_vary(written):
    for conversation in written:
        check_tools(conversation.tools)
    sizes = Counter(len(c.tools) for c in written)
    assert set(sizes) <= {*range(1, 9), *range(10, 41)} and sizes[1] > 30 and sum(sizes[n] for n in (2, 3, 4)) > 240


def test_held_out_domains_never_meet_training_domains():
    domains = {}
    for split in ("train", "held_out"):
        config = GenerateConfig(num_conversations=240, held_out_domains=HELD_OUT, split=split)
        teacher = ProgrammaticTeacher(config, seed=1)
        written = [teacher.conversation(i) for i in range(240)]
        assert all(first_failure(GATES, c) is None for c in written)
        domains[split] = {d for c in written for d in c.metadata["domains"]}
    assert not domains["train"] & domains["held_out"]
    assert domains["held_out"] == set(HELD_OUT)


def test_thoughts_can_be_left_out():
    config = GenerateConfig(num_conversations=40, thoughts=False)
    teacher = ProgrammaticTeacher(config, seed=2)
    assert all(m.thought is None for i in range(40) for m in teacher.conversation(i).messages)


def test_signatures_are_many_when_tool_sets_are_not_shared():
    config = GenerateConfig(num_conversations=600, conversations_per_tool_set=1)
    teacher = ProgrammaticTeacher(config, seed=3)
    tools = [t for i in range(600) for t in teacher.conversation(i).tools]
    assert len({(t.name, tuple(sorted(t.parameters["properties"]))) for t in tools}) > 1000


def test_user_turns_vary(written):
    for language in ("en", "zh"):
        turns = [m.content for c in written if c.language == language for m in c.messages if m.role == "user"]
        tokens = [turn.lower().split() if language == "en" else list(turn) for turn in turns]
        openings = Counter(tuple(t[:4]) for t in tokens if len(t) >= 4)
        assert openings.most_common(1)[0][1] / len(turns) < 0.05
        flat = [t for turn in tokens for t in turn][:3000]
        pairs = list(pairwise(flat))
        assert len(set(pairs)) / len(pairs) > 0.42


def test_the_catalogue_is_large_enough():
    catalogue = load_catalogue()
    assert len(catalogue.tools) >= 320 and len(catalogue.domains()) >= 30
    assert len({tool.id for tool in catalogue.tools}) == len(catalogue.tools)


def test_unknown_names_in_the_config_are_refused():
    with pytest.raises(ConfigError, match=r"held_out_domains.*'weathr'"):
        ProgrammaticTeacher(GenerateConfig(held_out_domains=("weathr",)), seed=0)
    with pytest.raises(ConfigError, match=r"generate\.shares has unknown 'singel'"):
        ProgrammaticTeacher(GenerateConfig(shares={"singel": 1.0}), seed=0)
