"""The page in headless Chromium: sorting, folding, screens from phone to desktop, dark mode, paper, its own policy."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sarship.report import Bar, Bars, Confusion, Curve, Curves, HeatMap, Note, Picture, Section, Table, render
from tests.report.browser import Browser, chromium, find_chromium
from tests.report.sample import INTRO, SHEET, TITLE, rich_sections

WIDTHS = (360, 768, 1280)
LEAST_CONTRAST = 4.5  # of text; WCAG 2.2, level AA
LEAST_CONTRAST_OF_SHAPES = 3.0
# A4 at 96 pixels an inch, less the margins that page.css sets: upright, and on its side for the widest tables.
PAPER_PX, WIDE_PAPER_PX = 688, 1017
SORTED_TABLE = pd.DataFrame(
    {
        "Name": ["seed 10", "seed 9", "Émile", "zebra", None, "apple"],
        "Score": [9.0, 10.0, -3.5, None, 0.125, 9.0],
        "F1": [70.0, None, 80.0, 60.0, 75.0, 100.0],
        "Low": [60.0, None, 79.0, 10.0, 70.0, 99.0],
        "High": [80.0, None, 81.0, 90.0, 80.0, 100.0],
        "Row": list(range(6)),
        "Collapsed": [True, False, False, True, False, False],
    }
)
# Contrast of every text that is shown, with what lies behind it; the worst of them first. Shapes behind text in a chart
# are none: text stands beside the bars and the curves.
WORST_CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (value) => value <= 10.31475 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("nothing behind the text");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    const written = texts.currentNode.data.trim();
    if (written === "" || node.closest("script, title, desc, .unseen") || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ink = numbers(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    if (ink.length === 4) throw new Error("text can be seen through: " + written);
    const [darker, lighter] = [luminance(ink), luminance(behind(node))].sort((one, other) => one - other);
    found.push([(lighter + 0.05) / (darker + 0.05), written]);
  }
  return found.sort((one, other) => one[0] - other[0]);
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine (apt-get install chromium)")
    with chromium(program, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def rich_page(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("page") / "report.html", rich_sections())


@pytest.fixture
def rich(browser, rich_page) -> Browser:
    browser.resize(1280)
    browser.emulate()
    browser.open(rich_page)
    return browser


@pytest.fixture
def sortable(browser, tmp_path) -> Browser:
    table = Table("To be sorted.", SORTED_TABLE, intervals={"F1": ("Low", "High")}, marked={2: "Marked"})
    browser.resize(1280)
    browser.emulate()
    browser.open(written(tmp_path / "sort.html", [Section("s", [table])]))
    return browser


def written(path: Path, sections: list[Section]) -> Path:
    path.write_text(render(TITLE, INTRO, sections, "Footer."), encoding="utf-8")
    return path


def column(browser: Browser, place: int) -> list[str]:
    script = f"Array.from(document.querySelectorAll('tbody tr'), row => row.cells[{place}].firstChild.textContent)"
    return [text.strip() for text in browser.evaluate(script)]


def directions(browser: Browser) -> list[str | None]:
    return browser.evaluate("Array.from(document.querySelectorAll('thead th'), head => head.getAttribute('aria-sort'))")


def head(place: int) -> str:
    return f"thead th:nth-child({place + 1}) button"


def test_the_page_loads_without_a_complaint_and_fetches_nothing(rich):
    rich.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    rich.settle()
    assert rich.complaints == []
    assert rich.fetched == []
    assert rich.evaluate("Array.from(document.images).every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize(
    "smuggled",
    [
        "<p style='color: red'>",
        "<script>window.smuggled = 1</script>",
        "<img src='https://example.invalid/x.png'>",
        "<p onclick='x()'>",
        "<style>p { color: red }</style>",
    ],
)
def test_the_policy_blocks_what_the_page_does_not_need_and_the_test_would_see_it(browser, tmp_path, smuggled):
    page = tmp_path / "smuggled.html"
    page.write_text(render("t", "", []).replace("<main>", f"<main>{smuggled}"), encoding="utf-8")
    browser.open(page)
    browser.evaluate("document.querySelector('main p')?.click()")
    browser.settle()
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
    assert browser.evaluate("window.smuggled") is None


def test_numbers_are_sorted_by_value_with_the_greatest_first_and_dashes_last(sortable):
    sortable.click(head(1))
    assert column(sortable, 1) == ["10.00", "9.00", "9.00", "0.12", "−3.50", "–"]
    assert column(sortable, 3) == ["1", "0", "5", "4", "2", "3"]  # equal ones in their first order
    sortable.click(head(1))
    assert column(sortable, 1) == ["−3.50", "0.12", "9.00", "9.00", "10.00", "–"]


def test_intervals_are_sorted_by_their_value(sortable):
    sortable.click(head(2))
    assert column(sortable, 2) == ["100.00", "80.00", "75.00", "70.00", "60.00", "–"]
    row = sortable.evaluate("document.querySelector('tbody td:nth-child(3)').textContent")
    assert row == "100.00 [99.00, 100.00]"


def test_texts_are_sorted_as_people_do(sortable):
    sortable.click(head(0))
    assert column(sortable, 0) == ["apple", "Émile", "seed 9", "seed 10", "zebra", "–"]
    sortable.click(head(0))
    assert column(sortable, 0) == ["zebra", "seed 10", "seed 9", "Émile", "apple", "–"]


def test_truth_is_sorted_with_yes_first(sortable):
    sortable.click(head(4))
    assert column(sortable, 3)[:2] == ["0", "3"]


@pytest.mark.parametrize("key", ["Enter", " "])
def test_keys_sort_and_the_direction_is_told(sortable, key):
    assert directions(sortable) == [None] * 5
    sortable.evaluate(f"document.querySelector({json.dumps(head(1))}).focus()")
    sortable.press(key)
    assert directions(sortable) == [None, "descending", None, None, None]
    assert column(sortable, 1)[0] == "10.00"
    sortable.press(key)
    assert directions(sortable) == [None, "ascending", None, None, None]
    assert column(sortable, 1)[0] == "−3.50"
    sortable.press("Tab")
    sortable.press(key)
    assert directions(sortable) == [None, None, "descending", None, None]


def test_a_marked_row_keeps_its_reason_when_it_moves(sortable):
    sortable.click(head(1))
    texts = sortable.evaluate("Array.from(document.querySelectorAll('tr.marked'), row => row.cells[0].textContent)")
    assert texts == ["ÉmileMarked"]


def test_folded_tables_open_at_a_click(rich):
    assert rich.evaluate("document.querySelector('details table').checkVisibility()") is False
    rich.click("details summary")
    rich.wait_for("document.querySelector('details table').checkVisibility()", True)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_never_scrolls_sideways(rich, width):
    rich.resize(width)
    rich.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    rich.settle()
    assert rich.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("width", WIDTHS)
def test_not_even_with_endless_words_and_very_wide_tables(browser, tmp_path, width):
    endless = "W" * 150
    wide = pd.DataFrame([[endless] + [71.234] * 40] * 3, columns=[endless, *(f"column {i}" for i in range(40))])
    blocks = [
        Note(endless),
        Note(endless, warning=True),
        Table(endless, wide, marked={1: endless}),
        Table(endless, wide, folded=True),
        HeatMap(endless, pd.DataFrame(np.eye(21)).rename(index={0: endless}), endless, endless, 0, 1),
        Bars(endless, [Bar(endless, 1e6, -1e6, 2e6, endless), Bar("b", -1e6)], endless, {endless: 1.5e6, "b" * 40: 0}),
        Curves(endless, [Curve(endless, [0, 100_000], [1e6, 2e6], 0), Curve("b", [0, 1], [0, 1])], endless, endless),
        Confusion(endless, [endless, *map(str, range(20))], np.eye(21).tolist()),
        Picture(endless, SHEET),
    ]
    page = tmp_path / "endless.html"
    sections = [Section(endless, blocks), Section(endless, blocks[6:8], side_by_side=True)]
    page.write_text(render(endless, endless, sections, endless), encoding="utf-8")
    browser.emulate()
    browser.resize(width)
    browser.open(page)
    browser.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    browser.settle()
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    # The column that stays while the others scroll leaves room for them.
    first_columns = "document.querySelectorAll('table tr > :first-child')"
    assert max(browser.evaluate(f"Array.from({first_columns}, it => it.offsetWidth)")) < width / 2


def test_a_wide_table_scrolls_in_its_box_and_its_first_column_stays(rich):
    rich.resize(360)
    place = "document.querySelector('.sortable tbody th').getBoundingClientRect().left"
    before = rich.evaluate(place)
    rich.evaluate("document.querySelector('.scroll').scrollLeft = 200")
    rich.settle()
    assert rich.evaluate("document.querySelector('.scroll').scrollLeft") == 200
    assert rich.evaluate(place) == before
    # The box is a stop of the tab key and says what it is.
    assert rich.evaluate("document.querySelector('.scroll').tabIndex") == 0
    assert rich.evaluate("document.getElementById(document.querySelector('.scroll').getAttribute('aria-labelledby'))"
                         ".textContent").startswith("Mean over seeds")  # fmt: skip


def test_text_is_never_small_on_a_phone(rich):
    rich.resize(360)
    script = (
        "Array.from(document.querySelectorAll('main *')).filter(it => it.checkVisibility() && it.childNodes.length"
        " && Array.from(it.childNodes).some(node => node.nodeType === 3 && node.data.trim())"
        " && !it.closest('title, desc')).map(it => parseFloat(getComputedStyle(it).fontSize))"
    )
    sizes = rich.evaluate(script)
    assert len(sizes) > 100
    assert min(sizes) >= 12


def test_bars_on_the_screen_are_as_long_as_they_should_be(rich):
    for width in WIDTHS:
        rich.resize(width)
        parts = "Array.from(document.querySelector('.bars').querySelectorAll"
        boxes = rich.evaluate(f"{parts}('rect'), it => it.getBoundingClientRect()).map(box => [box.left, box.width])")
        zero = rich.evaluate("document.querySelector('.zero').getBoundingClientRect().left")
        values = rich.evaluate(f"{parts}('.value'), it => parseFloat(it.textContent))")
        assert all(left == pytest.approx(zero, abs=1) for left, _ in boxes)
        lengths = [length for _, length in boxes]
        assert lengths == pytest.approx([value * lengths[0] / values[0] for value in values], rel=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_all_text_can_be_read_in_both_modes(rich, scheme, width):
    rich.resize(width)
    rich.emulate(scheme=scheme)
    rich.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    rich.settle()
    contrasts = rich.evaluate(WORST_CONTRASTS)
    assert len(contrasts) > 500
    assert contrasts[0][0] >= LEAST_CONTRAST, contrasts[:5]


def luminance(colour: str) -> float:
    values = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def background(browser: Browser) -> float:
    return luminance(browser.evaluate("getComputedStyle(document.documentElement).backgroundColor"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_shapes_stand_out_from_the_paper(rich, scheme):
    rich.emulate(scheme=scheme)
    paper = background(rich)
    shapes = "Array.from(document.querySelectorAll('.legend .mark, .curve .mark'), it => getComputedStyle(it).fill)"
    colours = set(rich.evaluate(shapes))
    assert len(colours) == 8
    for colour in colours:
        darker, lighter = sorted((luminance(colour), paper))
        assert (lighter + 0.05) / (darker + 0.05) >= LEAST_CONTRAST_OF_SHAPES, colour


def test_dark_mode_is_dark_and_paper_is_light_in_both_modes(rich):
    assert background(rich) > 0.9
    rich.emulate(scheme="dark")
    assert background(rich) < 0.05
    rich.emulate(media="print", scheme="dark")
    assert background(rich) > 0.9
    assert rich.evaluate(WORST_CONTRASTS)[0][0] >= LEAST_CONTRAST


def test_paper_shows_what_is_folded_and_no_contents(rich):
    shown = "Array.from(document.querySelectorAll('details table'), it => it.checkVisibility() && it.offsetHeight > 50)"
    assert rich.evaluate(shown) == [False] * 3
    rich.emulate(media="print")
    assert rich.evaluate(shown) == [True] * 3
    assert rich.evaluate("document.querySelector('nav').checkVisibility()") is False


def test_folded_tables_are_open_while_printing_and_closed_again(rich):
    # For browsers that do not know ::details-content: the script opens them, and closes those that it opened.
    rich.click("details summary")
    opened = "Array.from(document.querySelectorAll('details'), it => it.open)"
    rich.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert rich.evaluate(opened) == [True] * 3
    rich.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert rich.evaluate(opened) == [True, False, False]
    assert rich.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("numbers", [2, 6, 9, 12, 16, 20, 26, 34, 39])
def test_no_table_is_cut_off_on_paper(browser, tmp_path, numbers):
    row = {"Run": "Fine_ResNet_Fusar+Mixed_published_seed2", "Trained": "OpenSARShip", "Protocol": "published"}
    row |= {f"{part}{i}": 71.234 for i, part in zip(range(numbers), 20 * ["C-Precision", "MacroF1_low"], strict=False)}
    table = Table("As in scores.csv.", pd.DataFrame([row] * 3))
    matrix = Confusion("Many classes.", [f"dense residential {i}" for i in range(min(numbers, 21))],
                       np.full((min(numbers, 21),) * 2, 123).tolist())  # fmt: skip
    browser.open(written(tmp_path / "wide.html", [Section("s", [table, matrix])]))
    browser.emulate(media="print")
    on_its_side = browser.evaluate(
        "Array.from(document.querySelectorAll('.block'), it => it.classList.contains('aside'))"
    )
    for place, aside in enumerate(on_its_side):
        room = WIDE_PAPER_PX if aside else PAPER_PX
        browser.resize(room)
        width = browser.evaluate(f"document.querySelectorAll('table')[{place}].getBoundingClientRect().right")
        assert width <= room + 1


def test_the_contents_follow_the_reader(rich):
    current = "document.querySelector('nav [aria-current]')?.textContent ?? null"
    for width in (360, 1280):
        rich.resize(width)
        for place in (3, 7):
            rich.click(f"nav li:nth-child({place + 1}) a")
            rich.wait_for(current, rich_sections()[place].title)
            heading = rich.evaluate(f"document.querySelectorAll('h2')[{place}].getBoundingClientRect().top")
            covered = (
                rich.evaluate("document.querySelector('nav').getBoundingClientRect().bottom") if width == 360 else 0
            )
            assert covered <= heading <= 800


def test_the_page_stays_where_it_is_while_the_contents_take_the_focus(rich):
    rich.resize(360)
    rich.evaluate("window.scrollTo(0, 3000)")
    rich.settle()
    for place in (0, 3, 7):
        rich.evaluate(f"document.querySelectorAll('nav a')[{place}].focus()")
        rich.settle()
        assert rich.evaluate("window.scrollY") == 3000


def test_the_curve_whose_name_is_pointed_at_stands_out(rich):
    rich.evaluate("document.querySelector('.curves .legend li:nth-child(2)').dispatchEvent(new Event('pointerenter'))")
    curves = "Array.from(document.querySelector('.curves').querySelectorAll('.curve')"
    faded = f"{curves}, it => it.classList.contains('faded'))"
    assert rich.evaluate(faded) == [place != 1 for place in range(10)]
    rich.evaluate("document.querySelector('.curves .legend li:nth-child(2)').dispatchEvent(new Event('pointerleave'))")
    assert rich.evaluate(faded) == [False] * 10
