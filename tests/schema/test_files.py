"""Small files are there whole, or as they were."""

import os

import pytest

from fcdist.files import write_text


def test_a_file_is_replaced_with_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    for text in ("第一\n", "second\r\n", ""):
        write_text(path, text)
        assert path.read_bytes() == text.encode()
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(call, tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def broken(*args):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(OSError, match="Input/output error"):
            write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
