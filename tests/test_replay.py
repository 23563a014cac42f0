"""Self-written chat: what is asked and kept, why things are dropped, and that a folder is complete or absent."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fcdist import replay
from fcdist.config.run_folder import general_dir, write_config
from fcdist.config.types import Config, ModelConfig, ReplayConfig
from fcdist.data.chat_filters import (
    NearDuplicates,
    answer_reason,
    distinct_ngrams,
    language_of,
    repeated_share,
    user_reason,
)
from fcdist.errors import ConfigError, GenerationError
from fcdist.evaluation.decoding import Sampling
from fcdist.evaluation.sampling import nucleus
from fcdist.evaluation.self_chat import BRIEF_OPENINGS, ChatShape, ModelWriter, SelfChat
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.schema.conversation import Message
from fcdist.schema.shards import read_shard, shard_paths

TOPICS = ("apples", "bridges", "canals", "dogs", "engines", "ferns", "goats", "harbours")
TOPICS += ("islands", "jars", "kites", "lamps", "maps", "nests", "owls", "ponds")


class Scripted:
    """A writer that answers prompts with prepared texts, in turn."""

    def __init__(self, tokenizer, users, answers=("They are fine things to have.",)):
        self.tokenizer, self.users, self.answers = tokenizer, users, answers
        self.asked = self.answered = 0
        self.prompts = []

    def next_token_probabilities(self, prompt):
        spread_over = np.zeros(len(self.tokenizer))
        spread_over[self.tokenizer.encode("W", add_special_tokens=False)] = 1.0
        return spread_over

    def write(self, prompts, max_new_tokens, seed):
        return [self.one(list(ids), limit) for ids, limit in zip(prompts, max_new_tokens, strict=True)]

    def one(self, ids, limit):
        prompt = self.tokenizer.decode(ids)
        self.prompts.append(prompt)
        if prompt.endswith("assistant\n"):
            text, self.answered = self.answers[self.answered % len(self.answers)], self.answered + 1
        else:
            text, self.asked = self.users[self.asked % len(self.users)], self.asked + 1
            text = text.removeprefix("W") if prompt.endswith("W") else text if prompt.endswith("user\n") else " " + text
        return self.tokenizer.encode(text, add_special_tokens=False)[:limit]


@pytest.fixture(scope="module")
def tokenizer():
    return debug_tokenizer()


def questions(count):
    return [
        f"What do you think about {TOPICS[i % 16]} number {i} and {TOPICS[(i * 7 + 3) % 16]}?" for i in range(count)
    ]


def chat(tokenizer, users, answers=("They are fine things to have.",), **changes):
    cfg = ReplayConfig(**{"max_user_tokens": 100, "max_answer_tokens": 60, "batch_size": 8, **changes})
    writer = Scripted(tokenizer, users, answers)
    return SelfChat(writer, ChatShape(tokenizer), cfg, seed=0), cfg, writer


def test_headers_come_from_the_template(tokenizer):
    shape = ChatShape(tokenizer)
    assert tokenizer.decode(shape.user_prompt(())) == "<|im_start|>user\n"
    assert shape.stop_token_ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    assert shape.has_system


def test_template_whose_turns_end_in_plain_text_is_refused(tokenizer):
    plain = debug_tokenizer()
    plain.chat_template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    with pytest.raises(GenerationError, match="user's turn"):
        ChatShape(plain)


def test_template_without_system_messages_gets_none(tokenizer):
    strict = debug_tokenizer()
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    strict.chat_template = refuse + strict.chat_template
    cfg = ReplayConfig(brief_share=1.0, max_user_tokens=100)
    outcomes = list(SelfChat(Scripted(strict, questions(4)), ChatShape(strict), cfg, 0).round(4))
    assert {m.role for o in outcomes for m in o.conversation.messages} == {"user", "assistant"}


def test_round_yields_every_attempt_once_with_its_reason(tokenizer):
    users = [questions(1)[0], questions(1)[0], "Well now.", "W" * 300, "Wolves sleep in their quiet dens at night."]
    chatting, _, _ = chat(tokenizer, users, brief_share=0.0, second_turn_share=0.0)
    reasons = [outcome.reason for outcome in chatting.round(5)]
    assert sorted(map(str, reasons)) == sorted(
        ["None", "user_near_duplicate", "user_too_short", "user_not_ended", "user_asks_nothing"]
    )


def test_brief_turns_begin_as_given_and_are_judged_by_what_follows(tokenizer):
    chatting, _, _ = chat(tokenizer, [*questions(5), "Wolves."], brief_share=1.0, second_turn_share=0.0)
    outcomes = list(chatting.round(6))
    texts = [next(m.content for m in o.conversation.messages if m.role == "user") for o in outcomes]
    assert all(text.startswith(BRIEF_OPENINGS) for text in texts)
    assert [o.reason for o in outcomes].count("user_too_short") == 1


def test_second_turns_continue_the_conversation(tokenizer):
    answers = ["One thing I know well.", "Another thing I know.", "A third thing to say.", "The last of my things."]
    chatting, _, writer = chat(tokenizer, questions(8), answers, brief_share=1.0, second_turn_share=1.0)
    kept = [o.conversation for o in chatting.round(2) if o.reason is None]
    roles = [[m.role for m in c.messages if m.role != "system"] for c in kept]
    assert roles == [["user", "assistant", "user", "assistant"]] * 2
    for conversation in kept:
        said = [Message("system", ""), *(m for m in conversation.messages if m.role != "system")]
        assert any(
            said[2].content + "<|im_end|>\n<|im_start|>user\n" == p.split("assistant\n")[-1] for p in writer.prompts
        )


def test_collect_stops_at_the_number_asked_for(tokenizer):
    chatting, cfg, _ = chat(tokenizer, questions(60), num_conversations=10)
    found = replay.collect(chatting, cfg, time.monotonic())
    assert len(found.kept) == 10 and found.in_time
    assert [c.id for c in found.kept] == [f"replay-{i:06d}" for i in range(10)]
    assert all(c.category == "general" and c.source == "replay" and c.language == "en" for c in found.kept)


def test_time_limit_keeps_what_is_there(tokenizer):
    chatting, cfg, _ = chat(tokenizer, questions(60), num_conversations=50, max_minutes=0.01)
    found = replay.collect(chatting, cfg, time.monotonic() - 3600)
    assert 0 < len(found.kept) < 50 and not found.in_time and found.rounds == 1


class Slow:
    """Rounds in which every user turn takes a second of a clock that is set by hand."""

    def __init__(self, chatting, clock):
        self.chatting, self.clock, self.sizes = chatting, clock, []

    def round(self, size):
        self.sizes.append(size)
        self.clock[0] += size
        return self.chatting.round(size)


def test_a_last_round_is_as_large_as_the_time_left_allows(tokenizer, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(replay.time, "monotonic", lambda: clock[0])
    chatting, cfg, _ = chat(tokenizer, questions(60), num_conversations=900, batch_size=100, max_minutes=4.5)
    slow = Slow(chatting, clock)
    found = replay.collect(slow, cfg, 0.0)
    assert slow.sizes == [100, 100, 70] and clock[0] == 270 and not found.in_time
    clock[0], slow.sizes = 0.0, []
    replay.collect(slow, dataclasses.replace(cfg, max_minutes=4.0), 0.0)
    assert slow.sizes == [100, 100]  # 40 s are less than a round is worth


def test_model_that_cannot_is_reported_with_reasons(tokenizer):
    chatting, cfg, _ = chat(tokenizer, ["Wolves sleep in their quiet dens at night."])
    with pytest.raises(GenerationError, match=r"user_asks_nothing 24.*data\.sources"):
        replay.collect(chatting, cfg, time.monotonic())


@pytest.fixture
def run(tokenizer, tmp_path, monkeypatch):
    """A config in a run folder, with the model's part played by a script."""
    config = Config(run_dir=str(tmp_path), replay=ReplayConfig(num_conversations=6, batch_size=8, max_user_tokens=100))
    writer = Scripted(tokenizer, [*questions(40), "Well now."])
    writer.num_tokens = 123
    monkeypatch.setattr(replay, "ModelWriter", lambda *_: writer)
    write_config(config, tmp_path)
    return config, writer


def test_folder_is_published_with_manifest_and_rejects(run, tmp_path):
    config, _ = run
    write_config(dataclasses.replace(config, generate=dataclasses.replace(config.generate, shard_size=4)), tmp_path)
    assert replay.main([str(tmp_path)]) == 0
    folder = general_dir(config)
    shards = shard_paths(folder)
    assert [len(list(read_shard(path))) for path in shards] == [4, 2]
    facts = json.loads((folder / "manifest.json").read_text())["facts"]
    assert facts["kept"] == 6 and facts["tokens"] == 123
    assert facts["kept"] + sum(facts["rejected"].values()) == facts["attempts"]
    rejects = [json.loads(line) for line in (folder / "shard-00000.rejected.jsonl").read_text().splitlines()]
    assert len(rejects) == sum(facts["rejected"].values()) and all(r["reason"] for r in rejects)


def test_finished_folder_is_kept_and_a_foreign_one_refused(run, tmp_path, capfd):
    config, writer = run
    assert replay.main([str(tmp_path)]) == 0
    manifest = (general_dir(config) / "manifest.json").read_bytes()
    asked = writer.asked
    assert replay.main([str(tmp_path)]) == 0
    assert writer.asked == asked and (general_dir(config) / "manifest.json").read_bytes() == manifest
    write_config(dataclasses.replace(config, seed=1), tmp_path)
    assert replay.main([str(tmp_path)]) == 2
    assert "seed: 0 there, 1 now" in " ".join(capfd.readouterr().err.split())


def test_failed_run_leaves_no_manifest(run, tmp_path):
    config, writer = run
    writer.users = ["Well now."]
    assert replay.main([str(tmp_path)]) == 2
    assert not (general_dir(config) / "manifest.json").exists()


def test_same_seed_same_tokens_from_a_real_decoder(tokenizer):
    shape, cfg = ChatShape(tokenizer), ReplayConfig(batch_size=4, temperature=1.0, top_p=0.9)
    prompts = [shape.user_prompt(())] * 4

    def write(seed):
        return ModelWriter(tiny_model(), tokenizer, shape.stop_token_ids, cfg).write(prompts, [12] * 4, seed)

    first = write(3)
    assert first == write(3) and first != write(4)
    assert len({tuple(ids) for ids in first}) > 1 and max(map(len, first)) <= 12
    assert not any(stop in ids for ids in first for stop in shape.stop_token_ids)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_nucleus_does_not_depend_on_how_many_tokens_it_looks_at_first(top_p):
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(64, 900, generator=generator)
    uniform = torch.rand(64, generator=generator)
    for width in (1, 20, 200):
        assert torch.equal(nucleus(logits, top_p, uniform, width), nucleus(logits, top_p, uniform, 900))


def test_greedy_writer_takes_the_likeliest_token(tokenizer):
    model, shape = tiny_model(), ChatShape(tokenizer)
    prompt = shape.user_prompt(())
    ids = ModelWriter(model, tokenizer, (), ReplayConfig(temperature=0.0)).write([prompt], [1], 0)[0]
    assert ids == [int(model(torch.tensor([prompt])).logits[0, -1].argmax())]
    assert Sampling().temperature == 0.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("How do I plant a tree in a small garden?", None),
        ("Write a short poem about the sea", None),
        ("请帮我写一首关于春天的诗", None),
        ("Hi there", "user_too_short"),
        ("Sure, here is the list you asked for:", "user_sounds_like_assistant"),
        ("I'd be happy to help you with your essay.", "user_sounds_like_assistant"),
        ("The old town lies by the river bank.", "user_asks_nothing"),
        ("Как мне посадить дерево в саду?", "user_wrong_script"),
        ("What is <|im_start|> for in a prompt?", "user_markup"),
        ('Can you call <tool_call>{"name": "x"}</tool_call> now?', "user_markup"),
        ("Can you can you can you can you can you help?", "user_loops"),
        ("Please tell me why very very very big trees fall", "user_loops"),
        ("   ", "user_empty"),
        ("1 + 1 = ? 2 + 2 = ?", "user_no_words"),
    ],
)
def test_user_turns_are_judged(text, reason):
    assert user_reason(text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Dig a hole and water the roots well.", None),
        ("Yes.", "answer_too_short"),
        ("How do I plant a tree in a garden", "answer_echoes_user"),
        ("首先挖一个坑，然后浇水。", "answer_in_other_language"),
        ("\n".join(["Water it each morning."] * 3), "answer_loops"),
        ("user: and what then? assistant: nothing more", "answer_markup"),
    ],
)
def test_answers_are_judged(text, reason):
    assert answer_reason(text, "How do I plant a tree in a garden?") == reason


def test_near_duplicates_are_found_in_any_order():
    seen = NearDuplicates()
    assert seen.add("Can you help me plan a birthday party for my son?")
    assert not seen.add("Can you help me plan a birthday party for my dog?")
    assert seen.add("Can you explain how tides work near the equator?")
    assert not seen.add("can you help me plan a birthday party for my son")


@given(st.lists(st.sampled_from("abcde"), max_size=30))
def test_shares_of_repetition_stay_in_range(words):
    assert 0 <= repeated_share(words) < 1
    assert 0 <= distinct_ngrams([" ".join(words)]) <= 1


def test_language_is_told_by_script():
    assert language_of("今天 weather 怎么样") == "zh"
    assert language_of("What does 你好 mean in English, please?") == "en"


@pytest.mark.parametrize("setting", [{"batch_size": 0}, {"brief_share": 1.5}, {"top_p": 0.0}, {"max_minutes": -1.0}])
def test_impossible_settings_name_their_key(setting):
    with pytest.raises(ConfigError, match=f"replay.{next(iter(setting))}"):
        ReplayConfig(**setting)


def test_settings_hash_changes_with_what_the_text_depends_on():
    base = Config()
    others = [Config(seed=1), Config(model=ModelConfig(path="x")), Config(replay=ReplayConfig(temperature=0.5))]
    hashes = {replay.settings_hash(replay.replay_settings(config)) for config in [base, *others]}
    assert len(hashes) == 4
