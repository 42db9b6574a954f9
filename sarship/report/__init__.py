"""A report: sections of blocks, rendered as one self-contained HTML page."""

from sarship.report.blocks import Bar, Bars, Block, Confusion, Curve, Curves, HeatMap, Note, Picture, Section, Table
from sarship.report.page import render

__all__ = [
    "Bar",
    "Bars",
    "Block",
    "Confusion",
    "Curve",
    "Curves",
    "HeatMap",
    "Note",
    "Picture",
    "Section",
    "Table",
    "render",
]
