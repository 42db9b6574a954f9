"""The page as text: well-formed, complete, escaped, the same twice, and without anything to fetch."""

import dataclasses
import hashlib
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.command import UserError
from sarship.report import (
    Bar,
    Bars,
    Confusion,
    Curve,
    Curves,
    HeatMap,
    Note,
    Picture,
    Section,
    Table,
    render,
)
from sarship.report.page import HERE, split_headline
from tests.report.sample import INTRO, SHEET, TITLE, rich_sections

VOID = {"meta", "link", "img", "wbr"}
FETCHING = ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href")


class Outline(HTMLParser):
    """Tags, attributes and texts of a page; fails at a tag that is closed out of turn."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        assert len(dict(attrs)) == len(attrs)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def values(self, name: str, tag: str | None = None) -> list[str]:
        return [value for of, key, value in self.attributes if key == name and tag in (None, of)]

    @property
    def text(self) -> str:
        return "".join(text for tag, texts in self.texts.items() if tag not in ("style", "script") for text in texts)


@pytest.fixture(scope="module")
def rich() -> str:
    return render(TITLE, INTRO, rich_sections(), "Drawn from scores.csv.")


@pytest.fixture(scope="module")
def outline(rich) -> Outline:
    return Outline(rich)


def test_the_page_is_well_formed_and_its_ids_are_unique(rich, outline):
    assert rich.startswith("<!DOCTYPE html>")
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    named = [name for value in outline.values("aria-labelledby") for name in value.split()]
    assert set(named) <= set(ids)
    assert {address[1:] for address in outline.values("href", "use")} <= set(ids)


def test_every_section_is_in_the_contents(outline):
    assert outline.values("href", "a") == [f"#{name}" for name in outline.values("id", "section")]
    assert [text for text in outline.texts["a"] if text.strip()] == [section.title for section in rich_sections()]


def test_sections_of_one_title_have_ids_of_their_own():
    page = Outline(render("t", "", [Section("Same", []), Section("Same", []), Section("", []), Section("…", [])]))
    assert page.values("id", "section") == ["s1-same", "s2-same", "s3", "s4"]


def test_every_chart_has_a_title_and_a_description(outline):
    drawn = outline.values("role", "svg").count("img")
    assert drawn == 4
    assert outline.tags.count("desc") == drawn
    assert len([text for text in outline.texts["desc"] if text.strip()]) == drawn
    assert outline.tags.count("table") == outline.tags.count("caption")


def test_heads_of_rows_and_columns_say_so(outline):
    assert set(outline.values("scope", "th")) == {"row", "col"}
    assert outline.tags.count("th") == len(outline.values("scope", "th"))


def test_nothing_is_fetched_and_nothing_is_styled_or_handled_inline(rich, outline):
    for name in FETCHING:
        assert all(value.startswith(("#", "data:")) for value in outline.values(name)), name
    assert not re.search(r"url\(|@import|://", rich)
    names = {name for _, name, _ in outline.attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


def test_the_policy_names_the_style_and_the_script_that_are_there(outline):
    policy = next(value for value in outline.values("content", "meta") if value.startswith("default-src 'none'"))
    for tag in ("style", "script"):
        assert len(outline.texts[tag]) == 1
        digest = b64encode(hashlib.sha256(outline.texts[tag][0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_same_content_gives_the_same_bytes(rich):
    again = render(TITLE, INTRO, rich_sections(), "Drawn from scores.csv.")
    assert again.encode() == rich.encode()


def test_the_page_is_small_enough_to_send(rich):
    assert len(rich.encode()) < 400_000


def test_everything_can_be_read_without_the_script(outline):
    for text in ("72.59", "[68.24, 76.94]", "Baseline: always the commonest class", "Collapsed: answers Cargo only"):
        assert text in outline.text
    assert "button" not in outline.tags  # a button that needs the script is made by it


def test_a_footer_holds_only_what_is_given():
    assert "footer" not in Outline(render("t", "", [])).tags
    page = Outline(render("t", "", [], "One.\n\nTwo."))
    assert [text for tag in ("footer", "p") for text in page.texts[tag] if text.strip()] == ["One.", "Two."]


def test_an_empty_line_parts_paragraphs_and_a_single_break_does_not():
    page = Outline(
        render("t", "first\nstill first\n\n\nsecond", [Section("s", [Note("a\n\nb"), Note("c", warning=True)])])
    )
    assert [text for text in page.texts["p"] if text.strip()] == ["first\nstill first", "second", "a", "b", "c"]
    assert "Caution" in page.texts["b"]


@pytest.mark.parametrize(
    ("caption", "parts"),
    [
        ("Macro F1. The line is the interval.", ("Macro F1.", "The line is the interval.")),
        ("One sentence only.", ("One sentence only.", "")),
        ("At 0.5 or so", ("At 0.5 or so", "")),
        ("", ("", "")),
    ],
)
def test_the_first_sentence_of_a_caption_is_its_headline(caption, parts):
    assert split_headline(caption) == parts


def test_confusions_of_few_classes_and_curves_stand_side_by_side_where_asked_for():
    small, large = (Confusion("c", [str(i) for i in range(k)], np.eye(k).tolist()) for k in (3, 10))
    curves = Curves("c", [Curve("a", [0, 1], [0, 1])], "x", "y")

    def groups(side_by_side: bool) -> list[str]:
        page = render("t", "", [Section("s", [small, small, curves, large], side_by_side)])
        return [value for value in Outline(page).values("class", "div") if value.startswith("beside")]

    assert groups(True) == ["beside tables", "beside plots"]
    assert groups(False) == []


def test_a_lost_picture_is_an_error_of_the_user(tmp_path):
    with pytest.raises(UserError, match=r"lost\.png"):
        render("t", "", [Section("s", [Picture("c", tmp_path / "lost.png")])])


def test_blocks_without_content_leave_no_trace_of_an_error():
    blocks = [
        Note(""),
        Table("c", pd.DataFrame()),
        Table("c", pd.DataFrame({"a": []}), folded=True),
        HeatMap("c", pd.DataFrame(), "r", "c", 0, 1),
        HeatMap("c", pd.DataFrame([[None, np.nan]]), "r", "c", 0, 0),
        Bars("c", [], ""),
        Bars("c", [Bar("a", float("nan"))], "%"),
        Curves("c", [], "x", "y"),
        Curves("c", [Curve("a", [1], [None])], "x", "y"),
        Confusion("c", [], []),
    ]
    page = Outline(render("", "", [Section("s", blocks), Section("none", [], side_by_side=True)]))
    assert not re.search(r"\bnan\b|\binf\b|None", page.text)


def every_text(text: str) -> tuple[str, str, list[Section], str]:
    """A report with `text` wherever a text can stand."""

    def frame(rows: list, columns: list[str], index: list[str] | None = None) -> pd.DataFrame:
        # Columns of objects hold any text; those of strings refuse half a surrogate pair where PyArrow is installed.
        return pd.DataFrame(rows, index and pd.Index(index, dtype=object), pd.Index(columns, dtype=object), object)

    columns = [text, f"{text} low", f"{text} high"]
    intervals = frame([[text, 0.5, 2], [1.5, 1, 3], [None, 2, 4]], columns)
    blocks = [
        Note(text),
        Note(text, warning=True),
        Table(text, intervals, intervals={text: (f"{text} low", f"{text} high")}, marked={0: text, 1: text}),
        Table(text, frame([[text, text]], [text, text]), folded=True),
        HeatMap(text, frame([[1.0]], [text], [text]), text, text, 0, 1, frame([[text]], [text])),
        Bars(text, [Bar(text, 1.0, 0.5, 2.0, text), Bar(text, -1.0, group="other")], text, {text: 0.5}),
        Curves(text, [Curve(text, [0, 1], [0, 1], 0), Curve(text, [0, 1], [1, 0])], text, text),
        Confusion(text, [text, text], [[1, 2], [3, 4]]),
        Picture(text, SHEET.parent / "Cargo_o1.png"),
    ]
    return text, text, [Section(text, blocks), Section(text, blocks[-2:], side_by_side=True)], text


HARMLESS = Outline(render(*every_text("harmless. Text of Words_and-more")))
TAGS = (
    "<b>",
    "</script><script>x()</script>",
    "\"'><img src=x onerror=x()>",
    "</title>",
    "</svg><p>",
    "<style>",
    "<!--",
)
OTHERS = ("]]>", "&lt;", "{{ 7 * 7 }}", "{% raw %}", "javascript:x", "\x00", "\ud800", "\u202e", "`", "\r\n\r\n")
TRICKY = st.sampled_from([*TAGS, *OTHERS])


@settings(max_examples=60)
@given(st.text(max_size=30) | st.lists(TRICKY | st.text(max_size=5), max_size=5).map("".join))
def test_no_text_becomes_a_tag_or_an_attribute(text):
    page = render(*every_text(text))
    page.encode("utf-8")
    outline = Outline(page)
    assert set(outline.tags) <= set(HARMLESS.tags) | {"wbr"}
    assert {(tag, name) for tag, name, _ in outline.attributes} <= {(tag, name) for tag, name, _ in HARMLESS.attributes}
    for once in ("html", "head", "body", "main", "nav", "h1", "table", "figure", "section", "script", "style"):
        assert outline.tags.count(once) == HARMLESS.tags.count(once)
    for name in ("style", "script"):
        assert outline.texts[name] == HARMLESS.texts[name]
    assert all(value.startswith(("#", "data:")) for name in FETCHING for value in outline.values(name))


def test_a_text_is_shown_as_it_is_written():
    text = "<b>Cargo</b> & \"Tanker\" 'x' {{ 7 * 7 }} &amp; æøå 船"
    outline = Outline(render(*every_text(text)))
    assert outline.text.count(text) >= 20
    assert outline.values("alt", "img") == [text, text]


def test_what_no_file_can_hold_is_replaced():
    page = render("lone \ud800 half", "nul \x00 here", [])
    assert "lone \ufffd half" in page
    assert "nul \ufffd here" in page


def test_every_file_of_the_page_is_used_and_every_block_has_a_macro():
    assert {path.name for path in Path(HERE).glob("*.jinja")} == {"page.html.jinja", "blocks.html.jinja"}
    macros = re.findall(r"{% macro (\w+)\(one\)", (HERE / "blocks.html.jinja").read_text(encoding="utf-8"))
    blocks = (Bars, Confusion, Curves, HeatMap, Note, Picture, Table)
    assert {block.__name__.lower() for block in blocks} <= set(macros)
    assert all(dataclasses.is_dataclass(block) for block in blocks)
