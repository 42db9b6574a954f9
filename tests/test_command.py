"""Options, study files, one-line errors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sarship.command import UserError, byte_count, command_parser, parse, run_command
from tests.conftest import ROOT


def parser():
    made = command_parser("does things", "python do.py")
    made.add_argument("--epochs", type=int, default=3)
    made.add_argument("--classes", nargs="+", default=["a"])
    made.add_argument("--geometry", choices=["metric", "chip"], default="metric")
    return made


def test_defaults_study_and_command_line_in_that_order(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('[test_models]\nepochs = 5\nclasses = ["x", "y"]\n[grad_cams]\nunknown = 1\n')
    assert parse(parser(), "test_models", []).epochs == 3
    assert parse(parser(), "test_models", ["--study", str(study)]).epochs == 5
    chosen = parse(parser(), "test_models", ["--study", str(study), "--epochs", "7"])
    assert (chosen.epochs, chosen.classes) == (7, ["x", "y"])


@pytest.mark.parametrize(
    "text",
    [
        "[test_models]\nepoch = 5\n",
        "[test_models]\nepochs = 'many'\n",
        "[test_models\n",
        "test_models = 5\n",
        "[test_models]\ngeometry = 'flat'\n",
    ],
)
def test_a_bad_study_is_an_error_that_names_it(tmp_path, text):
    study = tmp_path / "study.toml"
    study.write_text(text)
    with pytest.raises(UserError, match=r"study\.toml"):
        parse(parser(), "test_models", ["--study", str(study)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[test_models]\nepoch = 5\n", r"no option 'epoch'; the nearest is 'epochs'"),
        ("[test_models]\nnothing-like-it = 5\n", r"no option 'nothing-like-it'; the nearest is"),
        ("[test_model]\nepochs = 5\n", r"no command for 'test_model'; the nearest is 'test_models'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_right_one(tmp_path, text, message):
    study = tmp_path / "study.toml"
    study.write_text(text)
    with pytest.raises(UserError, match=message):
        parse(parser(), "test_models", ["--study", str(study)])


@pytest.mark.parametrize("argv", [["--epochs", "x"], ["--epoch", "3"], ["stray"], ["--study", "absent.toml"]])
def test_bad_options_are_user_errors(argv):
    with pytest.raises(UserError):
        parse(parser(), "test_models", argv)


def test_a_user_error_is_one_line_and_status_2(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/do.py"])

    def fail():
        raise UserError("raw.zip: is\nbroken")

    with pytest.raises(SystemExit) as exit_info:
        run_command(fail)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "do.py: error: raw.zip: is broken\n"


@pytest.mark.parametrize(
    ("text", "count"), [("500M", 500 * 10**6), ("1.5G", 15 * 10**8), ("7", 7), ("2TB", 2 * 10**12)]
)
def test_byte_count(text, count):
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "1 G"])
def test_byte_count_refuses(text):
    with pytest.raises(UserError):
        byte_count(text)


@pytest.mark.parametrize("lines", [1, 100_000])  # within the buffer, and beyond it
def test_a_reader_that_has_seen_enough_ends_the_command_quietly(lines):
    script = f"from sarship.command import run_command; run_command(lambda: print('x\\n' * {lines}))"
    command = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.stdout.close()
    assert command.stderr.read() == b""
    assert command.wait() == 141


def test_a_list_in_a_study_does_not_swallow_what_stands_first(tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('[predict]\nclasses = ["x", "y"]\n')
    made = parser()
    made.add_argument("model").required = False  # as predict.py has it: a study is checked by itself
    chosen = parse(made, "predict", ["a.pt", "--study", str(study)])
    assert (chosen.model, chosen.classes) == ("a.pt", ["x", "y"])


@pytest.mark.parametrize("path", ["/absent/file", "/" + 5000 * "x", "/etc/passwd/below"])
def test_a_path_that_cannot_be_read_is_one_line_and_status_2(path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/command.py"])
    with pytest.raises(SystemExit) as ended:
        run_command(lambda: Path(path).read_bytes())
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and line.startswith(f"command.py: error: {path[:300]}: ") and len(line) < 400


def test_sigterm_ends_with_its_status_and_tidies_up(capsys):
    tidied = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            tidied.append(True)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            run_command(work)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143 and tidied and capsys.readouterr().err.endswith(": terminated\n")
