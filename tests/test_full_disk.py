"""What test_models.py does on a disk that is full: one line, and the same files in the end."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from sarship import files
from sarship.command import DiskError, run_command
from sarship.files import UNFINISHED
from tests.quick import same_files, train
from tests.small import make_prepared


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Both data sets trained, and nothing went wrong."""
    out = make_prepared(tmp_path_factory.mktemp("whole"))
    train(out)
    return out


def test_a_full_disk_is_one_line_at_whatever_write_and_afterwards_all_goes_on(whole, tmp_path, monkeypatch):
    out = make_prepared(tmp_path)
    fsync, written = os.fsync, []

    def full(handle):
        written.append(handle)
        if len(written) in moments:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    moments = set()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        train(make_prepared(tmp_path / "counted"))
        moments = {*range(1, len(written), 3)}
        written.clear()
        refused = 0
        while True:
            try:
                train(out)
                break
            except DiskError as error:
                refused += 1
                assert "No space left on device" in str(error)
                assert not list(out.rglob(f"{UNFINISHED}*"))
    assert refused >= 5
    same_files(out, whole)


@pytest.fixture
def small_disk(tmp_path):
    """Makes a file system in memory of so many bytes; the same call makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def make(size: int) -> Path:
        how = "remount," if mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "none", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here ({done.stderr.strip()})")
        mounted.append(disk)
        return disk

    yield make
    if mounted:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_on_a_disk_that_is_really_full_it_is_the_same(whole, tmp_path, small_disk, capsys):
    prepared = make_prepared(tmp_path / "source") / "prepared"
    disk = small_disk(size := 1 << 20)
    (disk / "out").mkdir()
    subprocess.run(["cp", "-r", prepared, disk / "out"], check=True)
    refused, is_done = 0, False
    while not is_done:
        try:
            run_command(lambda: train(disk / "out"))
            is_done = True
        except SystemExit as ended:
            refused += 1
            line = capsys.readouterr().err.splitlines()[-1]
            assert ended.code == 2 and "error: " in line and "No space left on device" in line
            assert not list(disk.rglob(f"{UNFINISHED}*"))
            small_disk(size := size + (1 << 19))
    assert refused >= 2
    same_files(disk / "out", whole)
