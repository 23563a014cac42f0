"""`python -m fcdist.evaluate RUN`: rows, reuse, clear errors."""

import json

import pytest
import torch
from safetensors.torch import save_file
from training.checkpoint_files import seal

from fcdist import evaluate
from fcdist.config.run_folder import write_config
from fcdist.config.types import Config, EvaluateConfig, TrainConfig, TuningConfig
from fcdist.evaluation import rows
from fcdist.model.adapters import apply_tuning, trainable_parameters
from fcdist.model.weights import load_model
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.shards import ShardWriter, write_manifest

TOOL = Tool("now", "Time.", {"type": "object", "properties": {"zone": {"type": "integer", "maximum": 9, "minimum": 0}}})


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "shards" / "held_out"
    with ShardWriter(folder / "shard-00000.jsonl") as shard:
        for number in range(2):
            messages = (
                Message("user", "Time?"),
                Message("assistant", tool_calls=(ToolCall("c", "now", "{}"),)),
                Message("tool", "12:00", tool_call_id="c"),
                Message("assistant", "Noon."),
            )
            shard.write(Conversation(messages, (TOOL,), id=f"c{number}", category="single"))
    write_manifest(folder, {"shard-00000.jsonl": {"counts": dict(shard.counts)}})
    return tmp_path


def configure(run_dir, **evaluate_settings):
    settings = {"bfcl_categories": (), "max_new_tokens": 48, "batch_size": 4} | evaluate_settings
    cfg = Config(
        run_dir=str(run_dir),
        evaluate=EvaluateConfig(**settings),
        train=TrainConfig(precision="fp32"),
        tuning=TuningConfig(r=2),
    )
    write_config(cfg, run_dir)
    return cfg


def write_checkpoint(cfg, run_dir):
    """A checkpoint whose adapter differs from the identity."""
    torch.manual_seed(0)
    model = apply_tuning(load_model(cfg.model, torch.float32, "sdpa"), cfg.tuning)
    weights = {name: torch.randn_like(p) for name, p in trainable_parameters(model).items()}
    folder = run_dir / "checkpoints" / "step-000001"
    folder.mkdir(parents=True)
    save_file(weights, folder / "trainable.safetensors")
    (folder / "state.json").write_text("{}")
    seal(folder)


def read_results(run_dir):
    return json.loads((run_dir / "evaluation" / "results.json").read_text())


def test_four_rows_in_two_calls(run_dir, capsys, monkeypatch):
    cfg = configure(run_dir, bfcl_categories=("irrelevance", "simple_python"), bfcl_limit=2, max_new_tokens=8)
    assert evaluate.main([str(run_dir), "--rows", "base,base_grammar"]) == 0
    first = read_results(run_dir)
    assert set(first["rows"]) == {"base", "base_grammar"}
    write_checkpoint(cfg, run_dir)
    assert evaluate.main([str(run_dir)]) == 0
    results = read_results(run_dir)
    assert set(results["rows"]) == set(rows.ROWS)
    assert results["rows"]["base"] == first["rows"]["base"]
    for name, row in results["rows"].items():
        assert row["suite"]["items"] == 4 and len(row["items"]) == 8
        assert row["bfcl"]["simple_python"]["of"] == 2 and row["bfcl"]["irrelevance"]["of"] == 2
        assert row["suite"]["measures"]["trigger_call"]["of"] == row["suite"]["measures"]["trigger_no_call"]["of"] == 2
        answers = (run_dir / "evaluation" / f"answers-{name}.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in answers] == [item["id"] for item in row["items"]]
    texts = [(run_dir / "evaluation" / f"answers-{name}.jsonl").read_text() for name in ("base", "tuned")]
    assert texts[0] != texts[1]  # the adapter was loaded
    assert "report.html" in "".join(capsys.readouterr().out.split())
    assert (run_dir / "evaluation" / "report.html").is_file()

    monkeypatch.setattr(evaluate, "answer_rows", lambda *a: pytest.fail("measured again"))
    assert evaluate.main([str(run_dir)]) == 0
    with pytest.raises(pytest.fail.Exception):
        evaluate.main([str(run_dir), "--force"])
    configure(run_dir, max_new_tokens=9)
    with pytest.raises(pytest.fail.Exception):
        evaluate.main([str(run_dir)])


def test_forced_grammar_gives_a_valid_call_everywhere(run_dir):
    configure(run_dir, max_new_tokens=120)
    assert evaluate.main([str(run_dir), "--rows", "base_grammar"]) == 0
    measures = read_results(run_dir)["rows"]["base_grammar"]["suite"]["measures"]
    assert measures["structure"] == {"right": 2, "of": 2}
    assert measures["trigger"]["balanced"] == 0.5


@pytest.mark.parametrize(
    ("rows_asked", "said"),
    [(("base", "best"), "'best' is not one of"), (("tuned",), "no complete checkpoint")],
)
def test_errors_name_the_way_out(run_dir, capsys, rows_asked, said):
    configure(run_dir, rows=rows_asked)
    assert evaluate.main([str(run_dir)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error


def test_missing_suite_is_an_error(tmp_path, capsys):
    configure(tmp_path, rows=("base",))
    assert evaluate.main([str(tmp_path)]) == 2
    assert "generate.split=held_out" in capsys.readouterr().err
