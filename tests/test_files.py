"""Outputs are whole or absent."""

import pytest

from sarship.command import UserError
from sarship.files import whole_file, whole_folder


def test_a_file_is_absent_or_as_before_when_writing_fails(tmp_path):
    target = tmp_path / "scores.csv"
    with pytest.raises(RuntimeError), whole_file(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(target) as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_absent_or_as_before_when_filling_fails(tmp_path):
    target = tmp_path / "prepared"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(RuntimeError), whole_folder(target) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["old"]
    with whole_folder(target) as folder:
        (folder / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_no_new_parent_folder(tmp_path):
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "new" / "prepared"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_old_folder_stays_when_the_new_one_cannot_take_its_place(tmp_path):
    target = tmp_path / "prepared"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(OSError), whole_folder(target) as folder:
        folder.rmdir()  # so that the last rename fails
    assert [path.name for path in target.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"), whole_file(tmp_path / "file" / "scores.csv"):
        pass
