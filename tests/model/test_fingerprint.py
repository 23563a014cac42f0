"""Other base weights under the same name are told apart, without reading them whole."""

from pathlib import Path

import pytest

from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.debug import tiny_model
from fcdist.model.fingerprint import BLOCK_SIZE, BLOCKS, base_fingerprint


def fingerprint(folder: Path) -> str:
    return base_fingerprint(ModelConfig(path=str(folder)))


def test_other_weights_of_the_same_shape_are_another_base(tmp_path):
    prints = []
    for i, seed in enumerate([0, 0, 1]):
        tiny_model(seed=seed).save_pretrained(tmp_path / str(i))
        prints.append(fingerprint(tmp_path / str(i)))
    assert prints[0] == prints[1] != prints[2]
    sizes = {(tmp_path / str(i) / "model.safetensors").stat().st_size for i in range(3)}
    assert len(sizes) == 1, "the files differ in nothing but their values"


@pytest.mark.parametrize("blocks", [0.5, 1, BLOCKS, BLOCKS + 0.001, 5 * BLOCKS])
def test_start_and_end_of_every_file_count(blocks, tmp_path):
    path = tmp_path / "model.safetensors"
    content = bytearray(int(blocks * BLOCK_SIZE))
    path.write_bytes(content)
    prints = {fingerprint(tmp_path)}
    for place in (0, len(content) // 2 if blocks <= BLOCKS else 1, len(content) - 1):
        changed = bytearray(content)
        changed[place] = 1
        path.write_bytes(changed)
        prints.add(fingerprint(tmp_path))
    path.write_bytes(content + b"\0")
    assert len(prints | {fingerprint(tmp_path)}) == 5


def test_settings_count_and_notes_do_not(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    before = fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("notes")
    assert fingerprint(tmp_path) == before
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    assert fingerprint(tmp_path) != before


def test_the_commit_stands_for_a_hub_name(tmp_path, monkeypatch):
    path = tmp_path / "snapshots" / "c0ffee" / "config.json"
    asked = {}

    def cached_file(name, file, **options):
        asked[name] = options
        return str(path)

    monkeypatch.setattr("fcdist.model.fingerprint.cached_file", cached_file)
    assert base_fingerprint(ModelConfig(path="owner/name", revision="v1")) == "c0ffee"
    assert asked == {"owner/name": {"revision": "v1"}}


def test_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        fingerprint(tmp_path / "nothing")
    with pytest.raises(ModelError, match=r"model\.path must name a folder with a model"):
        fingerprint(tmp_path)
    with pytest.raises(ModelError, match=r"model\.path='owner/name'"):
        base_fingerprint(ModelConfig(path="owner/name"))  # HF_HUB_OFFLINE is set
