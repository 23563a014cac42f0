"""The parts of the benchmarks that their figures rest on."""

import argparse
import json
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cost_model, scale, time_to_quality
from benchmarks.compare import PEERS, achieved_share, peer_command, table
from benchmarks.samples import fitting, sample_value, schema_prompts, shared_prompts, to_sharegpt
from benchmarks.time_to_quality import reached
from fcdist.config.types import BatchConfig, ModelConfig, TuningConfig
from fcdist.data.batch import Segments
from fcdist.data.planning import plan_epoch
from fcdist.model.adapters import apply_tuning
from fcdist.model.debug import tiny_model
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation, Message, Tool
from fcdist.sources.formats import from_sharegpt
from fcdist.training.estimates.flops import Shape, attended_pairs

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"enum": ["C", "F"]},
        "days": {"type": "integer", "minimum": 2, "maximum": 4},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "spot": {"$ref": "#/$defs/spot"},
        "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "deep": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
        "mode": {"const": "fast"},
    },
    "required": ["city", "unit", "days", "share", "tags", "spot", "when", "deep", "mode"],
    "$defs": {"spot": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}},
}


def count_letters(conversation):
    return len(json.dumps(conversation.to_wire())) // 4


@pytest.mark.parametrize("seed", range(20))
def test_sampled_arguments_keep_to_their_schema(seed):
    tool = {"name": "forecast", "description": "Forecast. More.", "inputSchema": SCHEMA}
    line = json.dumps({"server": f"s{seed}", "tools": [tool]})
    records = schema_prompts([line], count_letters, 10_000, per_group=4, groups=1, seed=seed)
    conversations = [from_sharegpt(record) for record in records]
    for conversation in conversations:
        check_conversation(conversation)
    assert len({c.messages[0].content for c in conversations}) == 4
    assert len({json.dumps([t.to_wire() for t in c.tools]) for c in conversations}) == 1


def test_a_request_states_the_values_of_its_call():
    tool = {"name": "forecast", "description": "Forecast.", "inputSchema": SCHEMA}
    lines = [json.dumps({"server": "s", "tools": [tool]})]
    for record in schema_prompts(lines, count_letters, 10_000, per_group=8, groups=1, seed=1):
        user, call = (turn["value"] for turn in record["conversations"])
        arguments = json.loads(call)["arguments"]
        assert str(arguments["days"]) in user and arguments["city"] in user


def test_references_that_lead_back_to_themselves_end():
    root = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}}
    json.dumps(sample_value(root, root, random.Random(0)))


def test_groups_share_a_prompt_of_the_asked_size_and_nothing_else():
    records = shared_prompts(count_letters, 900, 160, per_group=5, groups=2, seed=3)
    conversations = [from_sharegpt(record) for record in records]
    for conversation in conversations:
        check_conversation(conversation)
    prompts = [record["tools"] for record in records]
    assert [len(set(prompts[i : i + 5])) for i in (0, 5)] == [1, 1] and prompts[0] != prompts[5]
    assert len({r["conversations"][0]["value"] for r in records[:5]}) == 5
    for text in set(prompts):
        tools = [Tool.from_wire({"type": "function", "function": t}, "t") for t in json.loads(text)]
        sizes = [count_letters(Conversation((Message("user", "0"),), tuple(some))) for some in (tools, tools[:-1])]
        assert sizes[0] >= 900 > sizes[1]
    assert records == shared_prompts(count_letters, 900, 160, per_group=5, groups=2, seed=3)


def test_only_valid_records_that_fit_are_kept():
    records = shared_prompts(count_letters, 300, 160, per_group=4, groups=1, seed=5)
    sizes = [count_letters(from_sharegpt(record)) for record in records]
    broken = {"conversations": [{"from": "human", "value": "a question alone"}], "tools": "[]"}
    assert fitting([broken, *records], count_letters, max(sizes)) == records
    assert fitting(records, count_letters, min(sizes) - 1) == []
    assert [to_sharegpt(from_sharegpt(record))["conversations"] for record in records] == [
        record["conversations"] for record in records
    ]


@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(1, 6)), min_size=1, max_size=6))
def test_attended_pairs_counts_what_a_mask_would_show(drawn):
    starts, ends, parents, firsts = [], [], [], []
    for number, (parent, length) in enumerate(drawn):
        parent = min(parent, number - 1)
        starts.append(ends[-1] if ends else 0)
        ends.append(starts[-1] + length)
        parents.append(parent)
        firsts.append(firsts[parent] + ends[parent] - starts[parent] if parent >= 0 else 0)
    segments = Segments(tuple(starts), tuple(ends), tuple(parents), tuple(firsts))
    mask = np.zeros((ends[-1], ends[-1]), dtype=bool)
    for number in range(len(starts)):
        for seen in [*segments.ancestors(number), number]:
            mask[starts[number] : ends[number], starts[seen] : ends[seen]] = True
    assert attended_pairs(segments) == np.tril(mask).sum()


def test_weights_counted_for_flops_are_those_of_the_model():
    model = tiny_model()
    linear = sum(p.numel() for n, p in model.named_parameters() if "_proj" in n and p.ndim == 2)
    shape = Shape.of(apply_tuning(model, TuningConfig(r=4)))
    assert shape.frozen_weights == linear
    assert shape.trained_weights == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_sharing_saves_flops_only_where_something_is_shared():
    shape = Shape.of(apply_tuning(tiny_model(), TuningConfig(r=4)))
    assert shape.of_examples([40, 40], 6).total == 2 * shape.of_examples([40], 3).total
    shared = shape.cost(30 + 2 * 10, attended_pairs(Segments((0, 30, 40), (30, 40, 50), (-1, 0, 0), (0, 30, 30))), 6)
    assert shared.total < shape.of_examples([40, 40], 6).total and shared.head == shape.of_examples([80], 6).head


def test_the_cost_model_finds_what_made_the_times():
    random_rows = np.random.default_rng(0).uniform(1, 4096, (20, 3))
    times = random_rows @ [6e-4, 1e-7, 2e-4]
    assert cost_model.fit(random_rows, times) == pytest.approx([6e-4, 1e-7, 2e-4])
    assert cost_model.relative_error(random_rows, times, [6000, 1, 2000]) == pytest.approx(0, abs=1e-9)
    assert cost_model.relative_error(random_rows, times, [1, 1, 1]) > 0.1


def test_quality_is_reached_between_two_points():
    points = [{"loss": 2.0, "cpu_s": 0.0}, {"loss": 1.0, "cpu_s": 10.0}, {"loss": 0.5, "cpu_s": 20.0}]
    assert reached(points, 1.5, "cpu_s") == 5.0
    assert reached(points, 0.5, "cpu_s") == 20.0
    assert reached(points, 0.4, "cpu_s") is None
    found = [reached(points, quality, "cpu_s") for quality in (1.9, 1.2, 0.9, 0.6)]
    assert all(a < b for a, b in pairwise(found))


def test_time_to_quality_compares_the_same_examples_and_resumes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(time_to_quality, "SMOLLM2", ModelConfig())
    sizes = ["--tool-sets", "2", "--per-set", "4", "--examples-per-step", "4", "--held-out", "8", "--points", "2"]
    command = [str(tmp_path), "--seeds", "0", "--per-prefix", "1", "4", *sizes]
    time_to_quality.main(command)
    runs = [json.loads((tmp_path / f"seed0_k{k}.json").read_text()) for k in (1, 4)]
    for run in runs:
        assert [point["examples"] for point in (run["points"][0], run["points"][-1])] == [0, 8]
        assert [point["step"] for point in run["points"]] == [0, 1, 2]
        assert run["points"][0]["cpu_s"] == 0 < run["points"][1]["cpu_s"] < run["points"][2]["cpu_s"]
    untrained = [[run["points"][0][key] for key in ("loss", "loss_call", "calls_right")] for run in runs]
    assert untrained[0] == pytest.approx(untrained[1])
    assert (tmp_path / "curves.png").stat().st_size > 1000
    first = capsys.readouterr().out.splitlines()[-4:]
    monkeypatch.setattr(time_to_quality, "train_run", None)  # nothing may run again
    time_to_quality.main(command)
    assert capsys.readouterr().out.splitlines()[-4:] == first


def test_the_table_holds_every_run_and_ratios_against_the_first():
    one = {"samples_cpu_s": 0.4, "tokens_cpu_s": 800.0, "useful": 4.0, "peak_rss_mb": 5000, "gflops_cpu_s": 90.0}
    two = {"samples_cpu_s": 0.1, "tokens_cpu_s": 200.0, "useful": 1.0, "peak_rss_mb": 4000, "gflops_cpu_s": 100.0}
    rows = table({"fcdist-k8": one, "hf-pad": two}).splitlines()
    assert [cell.strip() for cell in rows[3].split("|")][1:-1] == [
        "hf-pad",
        "0.1000",
        "200",
        "1.00",
        "4.0",
        "4.00",
        "4.00",
    ]
    assert achieved_share(one, two) == pytest.approx(0.9)


def test_a_packing_peer_takes_one_row_a_step(tmp_path):
    arguments = argparse.Namespace(
        environment=["trl=/e"], peers=tmp_path, model="m", chat_template="", data="d", max_len=64, batch=2, steps=3,
        warmup=1, audit=False, prep_only=True,
    )  # fmt: skip
    packed, padded = (peer_command(PEERS[name], arguments, tmp_path) for name in ("trl-pack", "trl-pad"))
    assert packed[packed.index("--batch") + 1] == "1" and padded[padded.index("--batch") + 1] == "2"
    assert "--prep-only" in packed and "--audit" not in packed
    with pytest.raises(SystemExit, match="--environment lf="):
        peer_command(PEERS["lf-neat"], arguments, tmp_path)


def test_what_is_simulated_for_many_ranks_comes_from_a_plan(tmp_path):
    index = scale.made_index(4000)
    assert len(index.lengths) == 4000 and len(np.unique(index.groups)) == 500
    batch = BatchConfig(global_batch_size=8)
    plan = plan_epoch(index, batch, 0, 0)
    found = scale.facts_of(plan, index.groups, batch, 8)
    assert found["steps"] == len(plan) and 8 < found["groups"] <= 500 and 0 <= found["idle"] < 0.1
    path = scale.write_index(4000, tmp_path)
    assert scale.start_loader(path, 8) == len(plan)
    scale.keep_plan(path, tmp_path / "plan.npy", 8)
    assert scale.start_from_kept(path, tmp_path / "plan.npy", 8) == len(plan)
    assert (scale.open_index(path).lengths == index.lengths).all()


def test_a_checkpoint_is_written_faster_by_more_ranks_up_to_the_disk_s_rate():
    trained = scale.MODELS["8B"]["full"]
    times = [scale.write_seconds(trained, ranks) for ranks in scale.RANKS]
    assert times[0] > times[1] and times[2] == times[3] == times[4]
    assert times[0] == pytest.approx(trained * 12e-9 / 16 + trained * 2e-9 / 2)
