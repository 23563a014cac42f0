"""The entry points prepare, show and preflight: what they print, and how they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conversations import chat, tool_conversation, weather, write_jsonl
from stores import small_config, with_data

from fcdist import preflight, prepare, show
from fcdist.config.run_folder import failures_dir, write_config
from fcdist.training.watching.failures import BadPack, write_failure


@pytest.fixture(autouse=True)
def plain_output(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def start(cfg):
    """Freeze a run; return the arguments of a worker."""
    write_config(cfg, Path(cfg.run_dir))
    return [cfg.run_dir]


def run(module, argv, capsys):
    code = module.main(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_prepare_prints_and_writes_the_facts(tmp_path, capsys):
    cfg = small_config(tmp_path, validation_fraction=0.1)
    broken = tool_conversation(50).to_wire() | {"tools": []}
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write(json.dumps(broken) + "\n")
    sources = {name: replace(source, on_error="drop") for name, source in cfg.data.sources.items()}
    code, out, _ = run(prepare, start(with_data(cfg, sources=sources)), capsys)
    assert code == 0
    assert "dropped of calls: unknown_tool 1" in out and "asked 2, came out 2.0000 (22 : 11;" in out
    report = json.loads((tmp_path / "run/store/report.json").read_text())
    assert report["train"]["sources"]["chats"]["examples"] == 22
    assert report["train"]["categories"].keys() == {"general", "single"}
    assert report["validation"]["examples"] == 4
    assert report["dropped"] == {"calls": {"unknown_tool": 1}}
    packing = report["packing"]
    assert packing["num_steps"] >= 1 and 0 < packing["fill"] <= 1 and packing["empty_packs"] == 0
    assert report["prefixes"]["groups"] == 4 and report["prefixes"]["reuse_factor_limit"] >= packing["reuse_factor"] > 1
    assert packing["groups_per_step_min"] == packing["groups"] == 3 + 22  # tool prompts, and chats without one
    assert "distinct tool prompts in a step: 25" in out and "note: a step" not in out
    code, out, _ = run(prepare, start(with_data(cfg, sources=sources)), capsys)
    assert code == 0 and "reused, nothing changed" in out


def test_show_marks_targets_and_counts_the_pack(tmp_path, capsys):
    argv = start(small_config(tmp_path))
    assert prepare.main(argv) == 0
    capsys.readouterr()
    code, out, _ = run(show, [*argv, "--pack", "0"], capsys)
    assert code == 0 and "\x1b" not in out and "of 2048 free" in out and "positions 0-" in out
    code, out, _ = run(show, [*argv, "--example", "0"], capsys)
    for mark in ("⟦thought:", "⟦call:<function_call>", "⟦answer:0 degrees", "⟦end:<|im_end|>⟧"):
        assert mark in out
    assert "⟦context" not in out and "user assistant tool assistant" in out
    for wrong in (["--pack", "999"], ["--example", "999"]):
        code, _, err = run(show, [*argv, *wrong], capsys)
        assert code == 2 and f"{wrong[0]} 999" in err


def test_show_paints_the_packs_of_a_failed_step(tmp_path, capsys):
    cfg = small_config(tmp_path)
    argv = start(cfg)
    assert prepare.main(argv) == 0
    write_failure(failures_dir(cfg), 7, "step 7: why", [BadPack(3, 2, (0, 4), 1.5), BadPack(1, 1, (2,))])
    capsys.readouterr()
    code, out, _ = run(show, [*argv, "--failure", "7"], capsys)
    assert (
        code == 0 and "step 7: why" in out and "rank 3, micro-step 2, loss 1.5" in out and "rank 1, micro-step 1" in out
    )
    assert out.count("⟦call:<function_call>") >= 1 and "2 example(s)" in out and "1 example(s)" in out
    assert run(show, [*argv, "--failure"], capsys)[1] == out
    write_failure(failures_dir(cfg), 8, "later", [BadPack(0, 1, (999,))])
    for wrong, expected in (("8", "example 999 of the failed step"), ("9", "no failed step 9 is kept (there: 7, 8)")):
        code, _, err = run(show, [*argv, "--failure", wrong], capsys)
        assert code == 2 and expected in err


def test_a_step_with_few_tool_prompts_is_noted(tmp_path, capsys):
    cfg = small_config(tmp_path, num_calls=64, num_chats=0)
    calls = [tool_conversation(i, weather("c" * (1 + i % 32))) for i in range(64)]
    write_jsonl(tmp_path / "calls.jsonl", calls)
    sources = {"calls": cfg.data.sources["calls"]}
    cfg = with_data(cfg, sources=sources, general_ratio=0.0)
    code, out, _ = run(prepare, start(replace(cfg, batch=replace(cfg.batch, global_batch_size=1))), capsys)
    assert code == 0 and "note: a step holds only" in out and "Raise batch.global_batch_size or batch.seq_len" in out


def test_show_prints_a_pack_as_a_tree(tmp_path, capsys):
    cfg = small_config(tmp_path, num_calls=6, num_chats=3, general_ratio=0.0)
    argv = start(replace(cfg, batch=replace(cfg.batch, seq_len=8192, global_batch_size=1)))
    assert prepare.main(argv) == 0
    capsys.readouterr()
    code, out, _ = run(show, argv, capsys)
    assert code == 0 and "if nothing were shared; " in out
    assert "── shared by 2 examples · pack tokens" in out and "│ ── example " in out
    assert out.count('"Weather of a c"') == 1 < out.count("Weather in Ort")  # a tool prompt stands once
    code, out, _ = run(show, [*argv, "--example", "0"], capsys)
    assert "shared by" not in out and "if nothing were shared" not in out


def test_show_paints_in_colour_on_a_terminal(tmp_path, capsys, monkeypatch):
    argv = start(small_config(tmp_path))
    assert prepare.main(argv) == 0
    capsys.readouterr()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    code, out, _ = run(show, [*argv, "--example", "0"], capsys)
    assert code == 0 and "⟦" not in out and "\x1b[30;42m" in out  # calls: black on green


def test_preflight_before_and_after_prepare(tmp_path, capsys):
    cfg = small_config(tmp_path)
    argv = start(cfg)
    code, out, _ = run(preflight, argv, capsys)
    assert code == 0 and "no store yet" in out and "one epoch:" in out and "⟦call:" in out
    assert not (tmp_path / "run/store").exists()
    assert prepare.main(argv) == 0
    code, out, _ = run(preflight, argv, capsys)
    assert code == 0 and "whole and up to date" in out and "⟦end:" in out
    write_jsonl(tmp_path / "chats.jsonl", [chat(i) for i in range(40)])
    code, _, err = run(preflight, argv, capsys)
    assert code == 2 and err.startswith("error: ") and "stale token store" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: replace(c, launch=replace(c.launch, nproc_per_node=3)),
            "batch.global_batch_size=4 is not a multiple",
        ),
        (lambda c: replace(c, data=replace(c.data, sources={})), "no token store"),
        (lambda c: with_data(c, sources={"calls": c.data.sources["calls"]}), "there is no general example"),
        (lambda c: replace(c, protocol=replace(c.protocol, name="nonesuch")), "nonesuch"),
        (lambda c: replace(c, batch=replace(c.batch, seq_len=8)), "batch.seq_len is 8"),
    ],
)
def test_preflight_refuses_with_the_reason(tmp_path, capsys, change, message):
    code, _, err = run(preflight, start(change(small_config(tmp_path))), capsys)
    assert code == 2 and message in err and "Traceback" not in err


def test_prepare_names_a_missing_source(tmp_path, capsys):
    cfg = small_config(tmp_path)
    (tmp_path / "calls.jsonl").unlink()
    code, _, err = run(prepare, start(cfg), capsys)
    assert code == 2 and "calls.jsonl: no such file or folder" in err
