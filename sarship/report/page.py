"""One self-contained HTML page from sections of blocks: style, script and pictures are inside, nothing is fetched.

Python computes what is shown, page.html.jinja lays it out, page.css says how it looks on screens and on paper, and
page.js sorts tables. Every text from outside is escaped by the template; none of it enters the script or the style.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sarship.report.blocks import Bars, Block, Confusion, Curves, HeatMap, Note, Picture, Section, Table
from sarship.report.cells import colour_confusion, colour_heat_map, lay_out_table, split_name
from sarship.report.charts import draw_bars, draw_curves
from sarship.report.colours import LEVELS, heat_rules
from sarship.report.pictures import embed
from sarship.report.values import short_number

HERE = Path(__file__).parent
# How each block is drawn; its name in lower case is its macro in the template.
DRAWN_BY = {
    Note: lambda block: split_paragraphs(block.text),
    Table: lay_out_table,
    HeatMap: colour_heat_map,
    Bars: draw_bars,
    Curves: draw_curves,
    Confusion: colour_confusion,
    Picture: lambda block: embed(block.path, block.most_pixels),
}
FEW_CLASSES = 5  # the confusions of more need the whole width
# Characters that HTML forbids, and halves of pairs that no file can hold.
UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


@dataclass(frozen=True)
class _Shown:
    """A block, what was computed of it, and the id that its parts are named after."""

    macro: str
    id: str
    block: Block
    drawn: object


@dataclass(frozen=True)
class _Group:
    """Blocks below each other, or side by side in columns: "", "tables" (narrow) or "plots" (wide)."""

    columns: str
    shown: Sequence[_Shown]


@dataclass(frozen=True)
class _SectionView:
    id: str
    title: str
    groups: Sequence[_Group]


def render(title: str, intro: str, sections: Sequence[Section], footer: str = "") -> str:
    """The page as text, to be written as UTF-8. The same content gives the same text.

    intro, footer: plain text, an empty line between paragraphs; "" for none. The page shows no date and no name of a
    machine that is not in them. Raises UserError for a picture that is lost or damaged.
    """
    style, script = _style(), _read("page.js")
    page = _template().render(
        title=title,
        intro=split_paragraphs(intro),
        sections=[_view(section, number) for number, section in enumerate(sections, start=1)],
        footer=split_paragraphs(footer),
        style=style,
        script=script,
        policy=_policy(style, script),
    )
    return UNWRITABLE.sub("\ufffd", page)


def split_paragraphs(text: str) -> list[str]:
    """Paragraphs of a plain text: what an empty line parts."""
    return [paragraph for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph]


def split_headline(caption: str) -> tuple[str, str]:
    """The first sentence of a caption, which is set as its heading, and the rest."""
    match = re.match(r"(.+?[\w%)\]][.:?!])\s+(?=[A-Z])(.+)", caption, re.DOTALL)
    return (match[1], match[2]) if match else (caption, "")


def _view(section: Section, number: int) -> _SectionView:
    words = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")[:60].strip("-")
    section_id = f"s{number}-{words}" if words else f"s{number}"  # the number keeps it unique
    shown = [
        _Shown(type(block).__name__.lower(), f"s{number}b{place}", block, DRAWN_BY[type(block)](block))
        for place, block in enumerate(section.blocks, start=1)
    ]
    return _SectionView(section_id, section.title, _groups(shown, section.side_by_side))


def _groups(shown: Sequence[_Shown], side_by_side: bool) -> list[_Group]:
    keyed = groupby(shown, key=lambda one: _columns(one.block) if side_by_side else "")
    return [_Group(columns, list(members)) for columns, members in keyed]


def _columns(block: Block) -> str:
    if isinstance(block, Confusion):
        return "tables" if len(block.classes) <= FEW_CLASSES else ""
    return "plots" if isinstance(block, Curves) else ""


def _template():
    # Undefined names are errors: a typing mistake in the template must not leave a hole in the page.
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(headline=split_headline, parts=split_name, short=short_number)
    environment.globals["levels"] = range(LEVELS)
    return environment.get_template("page.html.jinja")


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _style() -> str:
    return _read("page.css") + heat_rules()


def _policy(style: str, script: str) -> str:
    """What the browser may do: show this style and pictures inside the page, run this script, and fetch nothing."""
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'sha256-{_digest(style)}'; script-src 'sha256-{_digest(script)}'"
    )


def _digest(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
