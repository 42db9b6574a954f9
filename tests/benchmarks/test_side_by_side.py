"""What every benchmark rests on: seconds and memory of a command, and sections of README.md."""

import sys
from pathlib import Path

import pytest
from side_by_side import machine, measure, read_section, run_python, table, write_section

BLOCK_BYTES = 200 * 2**20
HOLD = f"import time; block = bytearray({BLOCK_BYTES}); time.sleep(1)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_seconds_and_memory_are_those_of_the_command():
    small, large = measure(python("import time; time.sleep(1)")), measure(python(HOLD))
    assert min(small.seconds, large.seconds) >= 1
    assert large.peak_bytes - small.peak_bytes == pytest.approx(BLOCK_BYTES, rel=0.05)


def test_memory_of_children_counts():
    alone = measure(python(HOLD))
    family = measure(python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"))
    assert family.peak_bytes > alone.peak_bytes


def test_output_is_kept_and_the_folder_is_the_command_s(tmp_path):
    took = measure(python("import pathlib; print(pathlib.Path.cwd())"), tmp_path)
    assert Path(took.output.strip()) == tmp_path.resolve()


def test_a_command_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such luck"):
        measure(python("raise SystemExit('no such luck')"))


def test_a_script_runs_under_this_python():
    assert run_python(Path("a.py"), "--out", Path("b")) == [sys.executable, "a.py", "--out", "b"]


def test_a_section_is_replaced_and_the_rest_stays(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- one -->\nold\n<!-- /one -->\nbetween\n<!-- two -->\n<!-- /two -->\nend\n")
    write_section("one", "new\n\n", readme)
    write_section("two", "second", readme)
    expected = "# A\n<!-- one -->\nnew\n<!-- /one -->\nbetween\n<!-- two -->\nsecond\n<!-- /two -->\nend\n"
    assert readme.read_text() == expected
    assert read_section("one", readme) == "new"
    write_section("one", read_section("one", readme), readme)
    assert readme.read_text() == expected


@pytest.mark.parametrize("content", ["", "<!-- one -->", "<!-- /one --><!-- one -->", 2 * "<!-- one --><!-- /one -->"])
def test_a_section_without_its_marks_is_an_error(tmp_path, content):
    readme = tmp_path / "README.md"
    readme.write_text(content)
    with pytest.raises(ValueError, match="once each"):
        write_section("one", "new", readme)
    assert readme.read_text() == content


def test_every_benchmark_has_its_section():
    for name in ("grid.py", "gpu.py", "preparation.py", "cams.py"):
        read_section(name)


def test_a_table_has_a_row_a_line():
    assert table(["a", "b"], [["x", 1], ["y", 2.5]]) == "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2.5 |"


def test_the_machine_is_named_with_versions():
    assert "cores" in machine("numpy") and "numpy" in machine("numpy")
