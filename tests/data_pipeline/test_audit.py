"""The audit reads what `prepare` reads, says what is wrong with it, and keeps the rest as a source."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from data_pipeline import decontaminate
from data_pipeline.audit import REJECTED, UNREADABLE, audit, main, print_report
from fcdist.config.run_folder import AUDIT_REPORT, write_config
from fcdist.config.types import Config, DataConfig, MergeConfig, SourceConfig
from fcdist.data.tables import print_audit
from fcdist.errors import ConfigError, GenerationError
from fcdist.sources.reading import read_source

WEATHER = {
    "name": "get_weather",
    "description": "Weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def sharegpt(asked: str, city: str, answer: str) -> dict:
    turns = [("human", asked), ("function_call", {"name": "get_weather", "arguments": {"city": city}})]
    turns += [("observation", {"degrees": 21}), ("gpt", answer)]
    texts = [{"from": who, "value": said if isinstance(said, str) else json.dumps(said)} for who, said in turns]
    return {"conversations": texts, "tools": json.dumps([WEATHER])}


ROWS = [
    sharegpt("How warm is it in Oslo?", "Oslo", "It is 21 degrees in Oslo."),
    sharegpt("How warm is it in Oslo?", "Oslo", "It is 21 degrees in Oslo."),
    sharegpt("What about Rome today, warm?", "Vienna", "It is 21 degrees."),
    sharegpt("I am off to Lima, do I need a coat?", "Lima", "No, it is 35 degrees."),
    {"conversations": [{"from": "human", "value": "Nobody answers."}]},
]
TEXT = [
    {"messages": [{"role": "user", "content": "Hi, who are you?"}, {"role": "assistant", "content": "I am ChatGPT."}]}
]


@pytest.fixture
def config(tmp_path) -> Config:
    (tmp_path / "calls.json").write_text(json.dumps(ROWS), encoding="utf-8")
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TEXT), encoding="utf-8")
    sources = {
        "calls": SourceConfig(path=str(tmp_path / "calls.json"), format="sharegpt"),
        "chat": SourceConfig(path=str(tmp_path / "chat.jsonl"), role="general"),
    }
    run_dir = str(tmp_path / "run")
    return Config(data=DataConfig(sources=sources), merge=MergeConfig(decontaminate=()), run_dir=run_dir)


def test_every_row_is_kept_or_refused_with_its_reasons(config, tmp_path):
    findings = audit(config, tmp_path / "run").sources
    calls = findings["calls"]
    assert (calls.kept, calls.refused, calls.unreadable.total()) == (1, 3, 1)
    assert calls.reasons == {
        "duplicates: exact_duplicate": 1,
        "grounding: value_from_nowhere": 1,
        "answers: answer_has_other_number": 1,
    }
    assert findings["chat"].reasons == {"identity: claims_other_identity": 1}
    folder = tmp_path / "run" / "audit" / "calls"
    kept = list(read_source(SourceConfig(path=str(folder)), "kept"))
    assert [c.messages[0].content for c in kept] == ["How warm is it in Oslo?"]
    rejected = [json.loads(line) for line in (folder / REJECTED).read_text(encoding="utf-8").splitlines()]
    assert [row["reasons"] for row in rejected] == [[reason] for reason in calls.reasons]
    assert "last must be" in (folder / UNREADABLE).read_text(encoding="utf-8")
    assert not (tmp_path / "run" / "audit" / "chat" / "manifest.json").exists()


def test_a_second_audit_gives_the_same_files(config, tmp_path):
    audit(config, tmp_path / "run")
    files = {p: p.read_bytes() for p in (tmp_path / "run" / "audit").rglob("*") if p.is_file()}
    (tmp_path / "run" / "audit" / "calls" / "shard-00009.jsonl").write_text("of an earlier, larger source")
    audit(config, tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run" / "audit").rglob("*") if p.is_file()} == files


def test_prepare_repeats_what_the_audit_found(config, tmp_path, capsys):
    write_config(config, tmp_path / "run")
    assert main([str(tmp_path / "run")]) == 0
    assert "grounding: value_from_nowhere" in capsys.readouterr().out
    console = Console(record=True, width=200)
    print_audit(console, tmp_path / "run" / "audit" / AUDIT_REPORT)
    print_audit(console, tmp_path / "none.json")
    said = console.export_text()
    assert "audit of calls: 3 of 5 rows refused" in said and "fcdist audit" in said


def test_findings_name_examples(config, tmp_path):
    console = Console(record=True, width=200)
    print_report(console, audit(config, tmp_path / "run"), tmp_path)
    said = console.export_text()
    assert "calls: 3 of 5 rows refused (60.0%)" in said and "calls-2" in said and "unreadable" in said


BENCHMARK = [
    {"id": "bench_7", "messages": [{"role": "user", "content": text} for text in ("Hi", "How warm is it in Oslo?")]},
    {"id": "bench_8", "function": {"name": "Get-Weather", "parameters": WEATHER["parameters"]}},
]


def held_against(config, *references) -> Config:
    return replace(config, merge=MergeConfig(decontaminate=tuple(map(str, references))))


def test_rows_of_a_benchmark_are_refused_with_its_item(config, tmp_path):
    bench = tmp_path / "bench.jsonl"
    bench.write_text("".join(json.dumps(record) + "\n" for record in BENCHMARK), encoding="utf-8")
    report = audit(held_against(config, bench), tmp_path / "run")
    calls = report.sources["calls"]
    assert (calls.kept, calls.refused) == (0, 4)
    assert calls.reasons["contaminated: user_turn"] == calls.reasons["contaminated: tool_signature"] == 2
    assert "duplicates: exact_duplicate" not in calls.reasons  # of a row that was not kept there is no copy
    assert calls.contaminated == {"bench_7": 2, "bench_8": 2}
    assert report.references == ["bench.jsonl (2 user turns, 1 tool signatures)"]
    folder = tmp_path / "run" / "audit"
    written = json.loads((folder / AUDIT_REPORT).read_text(encoding="utf-8"))
    assert written["sources"]["calls"]["contaminated"] == calls.contaminated
    assert written["references"] == report.references
    first = json.loads((folder / "calls" / REJECTED).read_text(encoding="utf-8").splitlines()[0])
    assert first["collides_with"] == {"reference": "bench_7", "text": "how warm is it in oslo"}
    console = Console(record=True, width=200)
    print_report(console, report, tmp_path)
    said = console.export_text()
    assert "benchmark items met: bench_7 (2), bench_8 (2)" in said and "bench_7: how warm is it in oslo" in said
    assert "held against bench.jsonl" in said


def test_a_benchmark_that_is_not_there_is_said(config, tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "bfcl_files", lambda: None)
    report = audit(held_against(config, "bfcl"), tmp_path / "run")
    assert report.references[0].startswith("BFCL: not checked, the package bfcl-eval is not installed (pip install")
    assert report.sources["calls"].kept == 1
    with pytest.raises(GenerationError, match=r"merge\.decontaminate: .*absent\.jsonl cannot be read"):
        audit(held_against(config, tmp_path / "absent.jsonl"), tmp_path / "run")


def test_without_a_source_there_is_nothing_to_check(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.sources"):
        audit(Config(data=DataConfig(sources={})), tmp_path)
