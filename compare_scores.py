"""Command: scores.csv -> which model is best, whether the difference is real, and what each flaw and loss changes.

    python compare_scores.py                                  # of scores.csv, on the terminal; the tables are Markdown
    python compare_scores.py --html report.html               # and a page with charts, curves and heatmaps
    python compare_scores.py --published                      # beside the published figures
    python compare_scores.py --reference cross_entropy        # every variant against this one
    python compare_scores.py first/scores.csv second/scores.csv --tested Fusar

predictions.csv has to lie beside each scores.csv, as test_models.py writes both: every figure is computed from it anew.
history.csv beside them gives the learning curves, and Exp_images/ the heatmaps of the page.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sarship.command import UserError, command_parser, log, parse, run_command
from sarship.comparison.configurations import Configuration, read_configurations, read_histories
from sarship.comparison.gallery import gallery
from sarship.comparison.sections import all_sections
from sarship.comparison.statistics import Bootstrap
from sarship.comparison.tables import all_tested, read_published
from sarship.files import whole_file
from sarship.report.blocks import Section
from sarship.report.page import render
from sarship.report.text import as_markdown

PUBLISHED = Path(__file__).resolve().parent / "studies" / "published"


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python compare_scores.py --published --html report.html")
    add = parser.add_argument
    # -- what to compare
    add("scores", nargs="*", type=Path, metavar="scores.csv", help="of runs to compare (without: that below --out)")
    add("--tested", metavar="DATASET", help="one test set only (without: all)")
    add("--published", action=argparse.BooleanOptionalAction, default=False, help="beside the published figures")
    add("--reference", metavar="VARIANT",
        help='hold every configuration against this one, as in scores.csv; "" is strict as it is')  # fmt: skip
    # -- where to
    add("--html", type=Path, metavar="FILE", help="write a page, too; below --out")
    return parse(parser, "compare_scores", argv)


def on_one_test_set(configurations: Sequence[Configuration], tested: str) -> list[Configuration]:
    """The configurations without their answers on other test sets."""
    known = all_tested(configurations)
    if tested not in known:
        raise UserError(f"--tested {tested}: nothing was tested on it; there are {', '.join(known)}")
    return [replace(each, answers={tested: each.answers[tested]}) for each in configurations if tested in each.answers]


def write_page(path: Path, sections: Sequence[Section], paths: Sequence[Path]) -> None:
    intro = f"Computed by compare_scores.py from {', '.join(map(str, paths))} and the predictions beside."
    page = render("Comparison of trained networks", intro, sections)
    with whole_file(path) as written:
        written.write_text(page, encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    paths = chosen.scores or [chosen.out / "scores.csv"]
    configurations = read_configurations(paths)
    if chosen.tested:
        configurations = on_one_test_set(configurations, chosen.tested)
    classes = next(iter(configurations[0].answers.values())).classes
    published = read_published(PUBLISHED, classes) if chosen.published else None
    sections = all_sections(configurations, Bootstrap(), published, chosen.reference)
    print(as_markdown(sections), end="")
    if chosen.html:
        page = chosen.out / chosen.html
        write_page(page, [*sections, *gallery(configurations, read_histories(paths))], paths)
        log(f"Page: {page}")


if __name__ == "__main__":
    run_command(main)
