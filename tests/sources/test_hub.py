"""Parquet files and data sets of the hub give the conversations that the same records give as JSON lines."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conversations import chat, tool_conversation, write_jsonl

from fcdist.config.types import SourceConfig
from fcdist.errors import ShardError
from fcdist.sources.hub import load_hub
from fcdist.sources.reading import read_source
from fcdist.sources.records import count_records, source_digests

CONVERSATIONS = [tool_conversation(0), chat(1), tool_conversation(2)]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    load_hub.cache_clear()


def write_parquet(path, conversations):
    # Arrow merges the fields of all rows: the tools of one conversation get the parameters of the others, empty
    pq.write_table(pa.Table.from_pylist([c.to_wire() for c in conversations]), path)


def test_parquet_equals_json_lines(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", CONVERSATIONS)
    write_parquet(tmp_path / "rows.parquet", CONVERSATIONS)
    lines, table = (SourceConfig(path=str(tmp_path / name)) for name in ("rows.jsonl", "rows.parquet"))
    assert list(read_source(table, "s")) == list(read_source(lines, "s"))
    assert count_records(table) == count_records(lines) == 3


def test_digests_follow_the_content(tmp_path, monkeypatch):
    for name, count in (("a", 3), ("b", 3), ("c", 2)):
        write_parquet(tmp_path / f"{name}.parquet", CONVERSATIONS[:count])
    a, b, c = (source_digests(SourceConfig(path=str(tmp_path / f"{name}.parquet"))) for name in "abc")
    assert a == b != c
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "calls").mkdir(parents=True)
    write_jsonl(tmp_path / "owner" / "calls" / "train.jsonl", CONVERSATIONS)
    write_jsonl(tmp_path / "owner" / "calls" / "test.jsonl", CONVERSATIONS[:1])
    train, again, test = (
        source_digests(SourceConfig(path="hub:owner/calls", split=split)) for split in ("train", "train", "test")
    )
    assert train == again != test


def test_hub_name_with_split(tmp_path, monkeypatch):
    folder = tmp_path / "owner" / "calls"
    folder.mkdir(parents=True)
    write_jsonl(folder / "train.jsonl", CONVERSATIONS)
    write_jsonl(folder / "test.jsonl", CONVERSATIONS[:1])
    monkeypatch.chdir(tmp_path)  # `datasets` takes a folder of this name before it asks the hub
    source = SourceConfig(path="hub:owner/calls")
    assert [c.messages for c in read_source(source, "s")] == [c.messages for c in CONVERSATIONS]
    assert len(list(read_source(SourceConfig(path="hub:owner/calls", split="test"), "s"))) == 1
    with pytest.raises(ShardError, match=r"hub:owner/calls: .* split 'dev'.*dev.*Check the name"):
        list(read_source(SourceConfig(path="hub:owner/calls", split="dev"), "s"))


def test_an_invalid_row_is_named(tmp_path):
    record = CONVERSATIONS[0].to_wire()
    record["messages"][-1]["role"] = "user"
    pq.write_table(pa.Table.from_pylist([CONVERSATIONS[0].to_wire(), record]), tmp_path / "rows.parquet")
    source = SourceConfig(path=str(tmp_path / "rows.parquet"))
    with pytest.raises(ShardError, match=r"rows\.parquet: row 1: .*data\.sources\.calls\.on_error=drop"):
        list(read_source(source, "calls"))


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(ShardError, match=r"gone\.parquet: `datasets` cannot load"):
        list(read_source(SourceConfig(path=str(tmp_path / "gone.parquet")), "s"))
    (tmp_path / "text.parquet").write_text(json.dumps({"a": 1}))
    with pytest.raises(ShardError, match=r"text\.parquet: `datasets` cannot load"):
        list(read_source(SourceConfig(path=str(tmp_path / "text.parquet")), "s"))
