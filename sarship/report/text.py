"""Sections as text for the terminal: headings, notes and aligned tables, which are Markdown too, without charts."""

import re
from collections.abc import Sequence

from sarship.report.blocks import Note, Section, Table
from sarship.report.cells import Column, lay_out_table


def as_markdown(sections: Sequence[Section]) -> str:
    """Headings, notes and tables of the sections; sections that hold neither are left out."""
    return "\n\n".join(part for section in sections for part in _parts(section)) + "\n"


def _parts(section: Section) -> list[str]:
    blocks = [_block(block) for block in section.blocks if isinstance(block, Note | Table)]
    return [f"## {_plain(section.title)}", *blocks] if blocks else []


def _block(block: Note | Table) -> str:
    if isinstance(block, Note):
        return _plain(f"Warning: {block.text}" if block.warning else block.text)
    return f"{_plain(block.caption)}\n\n{format_table(lay_out_table(block).columns)}"


def format_table(columns: Sequence[Column]) -> str:
    """Columns as an aligned Markdown table; numbers, with their details behind them, are flush right."""
    filled = [_filled(column) for column in columns]
    rules = [
        "-" * (len(cells[0]) - 1) + ":" if column.is_number else "-" * len(cells[0])
        for column, cells in zip(columns, filled, strict=True)
    ]
    lines = [*zip(*filled, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rules, *lines[1:]))


def _filled(column: Column) -> list[str]:
    """Head and cells, all of one width."""
    texts = [_plain(text) for text in (column.head, *(f"{cell.text} {cell.detail}".strip() for cell in column.cells))]
    width = max(3, *map(len, texts))  # Markdown wants three dashes below a head
    return [text.rjust(width) if column.is_number else text.ljust(width) for text in texts]


def _plain(text: str) -> str:
    """Text on one line that Markdown takes for nothing else: a class may be called `<b>`, or `Bulk | Ore`."""
    return re.sub(r"([\\|`*]|<(?=[A-Za-z/!?]))", r"\\\1", " ".join(text.split()))
