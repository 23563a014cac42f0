"""A file system that is really full: what was saved stays usable, the reason is told, and with room made all goes on.

Errors of single calls are injected in `test_checkpoint_faults`; here the kernel refuses.
"""

import errno
import json
import logging
import os

import pytest
from training import test_checkpoint_faults as stubs
from training.checkpoint_files import fill
from training.test_checkpoint_faults import StubEngine, StubLoader, open_run, resume, save

from fcdist.errors import CheckpointError
from fcdist.files import write_text
from fcdist.training.checkpoints import publishing
from fcdist.training.checkpoints.publishing import told
from fcdist.training.records.sinks import JsonlSink

PAGE = os.sysconf("SC_PAGE_SIZE")


def try_to_save(folder, step: int, in_background: bool) -> None:
    if not in_background:
        return save(open_run(folder), step)
    checkpoints = open_run(folder, async_save=True)
    checkpoints.save(step, StubEngine(step), StubLoader(step), wait=False)
    return checkpoints._background.finish()


@pytest.mark.parametrize("in_background", [False, True])
def test_a_disk_that_is_filled_during_a_save_costs_that_save_alone(in_background, small_disk, monkeypatch):
    """Another program takes all but some pages after the save has found room enough; each time one more is left."""
    monkeypatch.setitem(stubs.SHAPES, "large", (4000,))  # so that a file is torn in its middle, too
    folder = small_disk / "run" / "checkpoints"
    for step in (1, 2):
        save(open_run(folder), step)
    write_part = publishing.write_part
    refused = 0
    for pages in range(100):

        def write_when_filled(path, fragments, free=pages * PAGE):
            fill(small_disk, free)
            return write_part(path, fragments)

        with monkeypatch.context() as patch:
            patch.setattr(publishing, "write_part", write_when_filled)
            try:
                try_to_save(folder, 3, in_background)
            except CheckpointError as error:
                refused += 1
                assert f"{folder}/step-000003 cannot be written: the disk is full: [Errno 28]" in str(error)
                assert "Make room there" in str(error) and "the same command goes on" in str(error)
                assert sorted(path.name for path in folder.iterdir()) == ["step-000001", "step-000002"]
                assert resume(folder) == 2, "with the disk still full"
            else:
                break
        (small_disk / "ballast").unlink()
    assert refused > 15, "a checkpoint has so many pages at least"
    assert resume(folder) == 3
    (small_disk / "ballast").unlink()
    save(open_run(folder), 4)
    assert resume(folder) == 4 and sorted(path.name for path in folder.iterdir()) == ["step-000003", "step-000004"]


def test_a_full_disk_is_refused_before_anything_is_written(small_disk):
    folder = small_disk / "checkpoints"
    save(open_run(folder), 1)
    ballast = fill(small_disk)
    with pytest.raises(
        CheckpointError, match=r"step-000002 cannot be written: it takes 0\.02 GiB and the disk has 0\.00"
    ):
        save(open_run(folder), 2)
    assert resume(folder) == 1
    ballast.unlink()
    save(open_run(folder), 2)
    assert resume(folder) == 2


def test_a_used_up_quota_is_told_as_such():
    def write():
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with pytest.raises(CheckpointError, match=r"the quota of the disk is used up: .*number of files"):
        told(write)()


@pytest.mark.parametrize("already_full", [False, True])
def test_records_wait_for_a_full_disk_and_none_is_missing(already_full, small_disk, caplog):
    path = small_disk / "log" / "metrics.jsonl"
    before = JsonlSink(path)
    for step in (1, 2, 3):
        before.write({"step": step, "loss": 1.0})
    sink = JsonlSink(path)
    if already_full:
        ballast = fill(small_disk)
        sink.resume(2)
    else:
        sink.resume(2)
        ballast = fill(small_disk)
    records = [{"step": step, "note": "x" * 1500} for step in range(3, 9)]  # more than is left of the last page
    with caplog.at_level(logging.WARNING):
        for record in records[:-1]:
            sink.write(record)
        assert caplog.text.count("cannot be written: [Errno 28]") == 1 and str(path) in caplog.text
        ballast.unlink()
        sink.write(records[-1])
        sink.close()
    assert caplog.text.count("is written again, no record is missing") == 1
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert found == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 1.0}, *records]


def test_a_small_file_that_does_not_fit_leaves_the_old_one(small_disk):
    path = small_disk / "jobs.json"
    write_text(path, "old")
    ballast = fill(small_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_text(path, "x" * PAGE)
    assert path.read_text() == "old" and sorted(small_disk.iterdir()) == [ballast, path]
