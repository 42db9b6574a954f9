"""The command: what it prints and writes, and that it refuses in one line what it cannot use."""

import io
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from compare_scores import main
from sarship.command import UserError
from sarship.scores import NEWER_COLUMNS
from tests.conftest import ROOT
from tests.small_scores import SmallRun, make_scores, variant

PLAIN = tuple(SmallRun(model, "Fusar", variant(), seed) for model in ("CNN", "VGG") for seed in (1, 2))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    make_scores(folder)
    return folder


@pytest.fixture(scope="module")
def printed(study) -> str:
    """What is printed of the full study."""
    with redirect_stdout(io.StringIO()) as text:
        main(["--out", str(study), "--published"])
    return text.getvalue()


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_every_section_of_a_full_study(printed):
    assert headings(printed) == [
        "Summary",
        "Ranking: tested on Fusar",
        "Ranking: tested on OpenSARShip",
        "Ranking: tested on Mixed",
        "Trained on one set, tested on another",
        "Transfer chains",
        "Which model is better",
        "Published flaws, one at a time",
        "Losses and samplers: tested on Fusar",
        "Losses and samplers: tested on Mixed",
        "Published figures",
    ]


def test_summary_says_what_is_best_and_what_collapsed(printed):
    summary = printed.split("## ")[1]
    assert "Trained and tested on Mixed, strict: VGG is best, with a macro-F1 of" in summary
    assert "Not told apart from it: Fine_VGG." in summary
    assert "of 30 differences between two models survive Holm's correction." in summary
    assert "Collapsed to one class, 1 of 86 runs: CNN_Mixed_seed2." in summary
    assert "92 runs of 58 configurations" in summary


def test_every_table_is_a_markdown_table(printed):
    assert len(tables_of(printed)) == 18
    for lines in tables_of(printed):
        assert len({len(line) for line in lines}) == len({line.count("|") for line in lines}) == 1


def tables_of(text: str) -> list[list[str]]:
    return [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]


def test_one_test_set_only(study, capsys):
    main(["--out", str(study), "--tested", "OpenSARShip"])
    text = capsys.readouterr().out
    assert headings(text) == ["Summary", "Ranking: tested on OpenSARShip", "Transfer chains", "Which model is better"]
    with pytest.raises(UserError, match="--tested Moon: nothing was tested on it; there are Fusar, OpenSARShip, Mixed"):
        main(["--out", str(study), "--tested", "Moon"])


def test_sections_without_rows_are_left_out(tmp_path, capsys):
    make_scores(tmp_path, [SmallRun("CNN", "Fusar", variant(augment="none"))])
    main(["--out", str(tmp_path)])
    assert headings(capsys.readouterr().out) == ["Summary", "Other settings"]


def test_files_from_several_folders(tmp_path, capsys):
    first, second = (make_scores(tmp_path / name, runs) for name, runs in (("a", PLAIN[:2]), ("b", PLAIN[2:])))
    main([str(first), str(second), "--tested", "Fusar"])
    text = capsys.readouterr().out
    assert "| Fusar   | VGG    | CNN   | 2 / 2 |" in text
    with pytest.raises(UserError, match="CNN trained on Fusar, seed 1, tested on Fusar: is in"):
        main([str(first), str(first)])


def test_page_holds_the_sections_and_the_pictures(tmp_path, capsys):
    make_scores(tmp_path, PLAIN)
    sheet = tmp_path / "Exp_images" / "Fusar" / "CNN_Fusar" / "contact_sheet.png"
    sheet.parent.mkdir(parents=True)
    Image.new("L", (40, 30), 99).save(sheet)
    main(["--out", str(tmp_path), "--html", "pages/report.html"])
    page = (tmp_path / "pages" / "report.html").read_text(encoding="utf-8")
    for title in (*headings(capsys.readouterr().out), "Confusion matrices", "Learning curves", "Where networks look"):
        assert f">{title}</h2>" in page
    assert page.count("data:image/webp") == 1
    assert "Validation macro-F1" in page and "Losses" in page


def test_page_without_history_and_pictures_lacks_these_sections(tmp_path, capsys):
    make_scores(tmp_path, PLAIN).with_name("history.csv").unlink()
    main(["--out", str(tmp_path), "--html", "report.html"])
    assert "history.csv: is not there, so there are no learning curves" in capsys.readouterr().err
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">Confusion matrices</h2>" in page
    assert ">Learning curves</h2>" not in page and ">Where networks look</h2>" not in page


def test_the_same_files_give_the_same_text(tmp_path, capsys):
    texts = []
    for name in ("one", "two"):
        make_scores(tmp_path / name, PLAIN)
        main(["--out", str(tmp_path / name)])
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_class_names_may_hold_anything(tmp_path, capsys):
    """A class called `<b>, a|b` is one cell in each row, and shown as it is written on the page."""
    make_scores(tmp_path, [SmallRun("CNN", "Fusar", variant(loss=loss)) for loss in ("cross_entropy", "focal")])
    rename_class(tmp_path, "Fishing", "<b>, a|b")
    main(["--out", str(tmp_path), "--html", "report.html"])
    text = capsys.readouterr().out
    assert r"\<b>, a\|b, 8 test chips." in text
    assert r"The rarest class of this test set is \<b>, a\|b" in text
    for lines in tables_of(text):
        assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;, a|b" in page and "<b>, a|b" not in page


def rename_class(folder: Path, old: str, new: str) -> None:
    scores, predictions = (pd.read_csv(folder / f"{name}.csv", dtype=str) for name in ("scores", "predictions"))
    scores = scores.rename(columns=lambda name: name.replace("F-", f"{new}-", 1) if name.startswith("F-") else name)
    predictions = predictions.rename(columns={f"p_{old}": f"p_{new}"}).replace({"label": {old: new}})
    scores.to_csv(folder / "scores.csv", index=False)
    predictions.to_csv(folder / "predictions.csv", index=False)


def test_older_scores_are_refused_and_nothing_is_written(tmp_path, capsys):
    path = make_scores(tmp_path, PLAIN)
    pd.read_csv(path).drop(columns=list(NEWER_COLUMNS)).to_csv(path, index=False)
    with pytest.raises(UserError, match="is of an older form, without Augment to Stopped; run test_models"):
        main(["--out", str(tmp_path), "--html", "report.html"])
    assert capsys.readouterr().out == "" and not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], r"scores\.csv: is not there; write it with test_models\.py"),
        (["--published", "--html"], "--html"),
        (["--study", "absent.toml"], r"absent\.toml"),
        (["--treined", "Fusar"], "--treined"),
    ],
)
def test_a_users_mistake_is_named(tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=named):
        main(arguments)


def test_an_error_is_one_line_and_status_2(tmp_path):
    command = [sys.executable, str(ROOT / "compare_scores.py"), "--html", "report.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("compare_scores.py: error: scores.csv: is not there") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_options_come_from_a_study(study, tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text('[compare_scores]\ntested = "Fusar"\npublished = true\n')
    main(["--study", str(file), "--out", str(study)])
    found = headings(capsys.readouterr().out)
    assert "Ranking: tested on Fusar" in found and "Published figures" in found
    assert "Ranking: tested on Mixed" not in found


def test_starting_does_not_load_torch():
    code = "import sys, compare_scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
