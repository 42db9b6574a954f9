"""Values as AIS tables write them: what is missing may be "", 0, -1, NA or NaN."""

import math
import re

_MISSING_TEXT = {"", "na", "nan", "none", "null"}


def mmsi(value: str | None) -> str:
    """The digits of an MMSI, written the same way in every data set; "" where the vessel is unknown."""
    number = positive(value)
    return "" if math.isnan(number) else str(int(number))


def positive(value: str | None) -> float:
    """A length, spacing or angle; NaN where the text is missing, no finite number, zero or negative."""
    try:
        number = float(text(value))
    except ValueError:
        return math.nan
    return number if 0 < number < math.inf else math.nan


# Control characters, other ends of lines, and halves of surrogate pairs.
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FORMULA = re.compile(r"^(\s*)[-=+@＝＋－＠]")


def cell(value: str) -> str:
    """Text of strangers as it may stand in a table: in one line, and "_" where a spreadsheet would see a formula."""
    return _FORMULA.sub(r"\1_", _NO_TEXT.sub(" ", value))


def text(value: str | None) -> str:
    """The text without the space round it; "" where it says that there is none."""
    stripped = (value or "").strip()
    return "" if stripped.lower() in _MISSING_TEXT else stripped
