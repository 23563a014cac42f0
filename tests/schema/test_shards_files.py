"""Shard files: complete or absent, verified against their manifest."""

import json
import threading

import pytest

from fcdist.errors import ShardError
from fcdist.schema.conversation import Conversation, Message
from fcdist.schema.shards import (
    ShardWriter,
    file_sha256,
    read_records,
    read_shard,
    shard_paths,
    write_json,
    write_manifest,
)

TALK = Conversation((Message("user", "早上好"), Message("assistant", "hello")), id="1", category="general")


def written(folder, *names):
    for name in names:
        with ShardWriter(folder / name) as shard:
            shard.write(TALK)
    write_manifest(folder, {name: {"counts": {"general": 1}} for name in names}, seed=7)
    return folder


def test_shards_are_found_in_order_and_read_back(tmp_path):
    written(tmp_path, "shard-00001.jsonl", "shard-00000.jsonl")
    paths = shard_paths(tmp_path)
    assert [p.name for p in paths] == ["shard-00000.jsonl", "shard-00001.jsonl"]
    assert [list(read_shard(p)) for p in paths] == [[TALK], [TALK]]
    assert shard_paths(paths[0]) == [paths[0]]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["seed"] == 7
    assert manifest["shards"]["shard-00000.jsonl"] == {"counts": {"general": 1}, "sha256": file_sha256(paths[0])}


def test_shard_has_its_name_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "shard.jsonl"
    with ShardWriter(path) as shard:
        shard.write(TALK)
        assert not path.exists()
    assert path.exists() and shard.counts == {"general": 1}
    assert [p.name for p in path.parent.iterdir()] == ["shard.jsonl"]


def test_failed_shard_leaves_nothing_and_keeps_the_old_one(tmp_path):
    path = tmp_path / "shard.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError), ShardWriter(path) as shard:
        shard.write(TALK)
        raise RuntimeError
    assert path.read_text() == "old\n" and list(tmp_path.iterdir()) == [path]


def test_extra_fields_are_written_beside_and_read_with_ignore(tmp_path):
    path = tmp_path / "rejected.jsonl"
    with ShardWriter(path) as shard:
        shard.write(TALK, reason="grounding", other=None)
    assert list(read_shard(path, ignore=("reason",))) == [TALK]
    with pytest.raises(ShardError, match=r"rejected.jsonl:1: conversation has unknown field reason"):
        list(read_shard(path))


def test_same_file_published_by_many_at_once_is_never_torn(tmp_path):
    path, value, errors = tmp_path / "x.json", {"a": "b" * 10_000}, []

    def publish():
        try:
            for _ in range(10):
                write_json(path, value)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and json.loads(path.read_text()) == value and list(tmp_path.iterdir()) == [path]


def line(text):
    return json.dumps(text) if not isinstance(text, str) else text


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", r"data.jsonl:3: not JSON \(.*\): '\{"),
        ("[]", r"data.jsonl:3: conversation must be an object, got list"),
        ({"messages": [{"role": "user", "content": "x"}]}, r"data.jsonl:3: messages\[0\] is user; the last must be"),
        ({"messages": [{"role": "me", "content": "x"}]}, r"data.jsonl:3: messages\[0\].role is 'me'"),
    ],
)
def test_bad_line_is_named(tmp_path, bad, message):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([line(TALK.to_wire()), "", line(bad)]))
    reader = read_shard(path)
    assert next(reader) == TALK
    with pytest.raises(ShardError, match=message):
        next(reader)


def test_records_carry_their_line_number(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n\n  \n[2]\n')
    assert list(read_records(path)) == [(1, {"a": 1}), (4, [2])]


def test_unreadable_files(tmp_path):
    with pytest.raises(ShardError, match=r"gone.jsonl: cannot be read: .*No such file"):
        list(read_records(tmp_path / "gone.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(ShardError, match=r"latin.jsonl: cannot be read: 'utf-8'"):
        list(read_records(tmp_path / "latin.jsonl"))


def test_nothing_there(tmp_path):
    with pytest.raises(ShardError, match="gone: no such file or folder"):
        shard_paths(tmp_path / "gone")


def test_folder_without_manifest(tmp_path):
    with pytest.raises(ShardError, match=r"no manifest.json; the generator that wrote it did not finish: run it again"):
        shard_paths(tmp_path)


def test_missing_and_changed_shard(tmp_path):
    written(tmp_path, "a.jsonl", "b.jsonl")
    (tmp_path / "b.jsonl").write_text("{}\n")
    with pytest.raises(ShardError, match=r"b.jsonl: sha256 differs from manifest.json"):
        shard_paths(tmp_path)
    assert len(shard_paths(tmp_path, verify=False)) == 2
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(ShardError, match=r"a.jsonl: named in manifest.json but missing"):
        shard_paths(tmp_path, verify=False)


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"shards": []}', '{"shards": {"a": 1}}', '{"shards": {"a": {}}}']
)
def test_broken_manifest(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ShardError, match=r"manifest.json: not a manifest of shards"):
        shard_paths(tmp_path)


def test_manifest_of_nothing(tmp_path):
    write_manifest(tmp_path, {})
    with pytest.raises(ShardError, match=r"manifest.json: names no shard"):
        shard_paths(tmp_path)
