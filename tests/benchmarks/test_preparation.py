"""benchmarks/preparation.py runs, and its figures are of what ran."""

import preparation
from side_by_side import Measured


def test_it_measures_both_ways(capsys):
    preparation.main(["--sizes", "100", "--repeat", "1", "--workers", "2"])
    table, log = capsys.readouterr()
    cells = next(line for line in table.splitlines() if line.startswith("| 100 ")).split("|")
    numbers = [float(word) for cell in cells[1:-1] for word in cell.replace("against", " ").split()]
    assert len(numbers) == 9
    assert all(number > 0 for number in numbers)
    assert "100 chips" in log


def way(chips: int, seconds: tuple[float, ...], disk_seconds: float, mb: int) -> preparation.Way:
    return preparation.Way(chips, [preparation.Run(Measured(each, 10**6 * mb, ""), disk_seconds) for each in seconds])


def test_figures_are_medians_per_chip_and_the_claim_is_checked():
    rows = [
        preparation.Row(way(1000, (1, 9, 2), 0, 200), way(1000, (4, 4, 4), 4, 1)),
        preparation.Row(way(2000, (4, 5, 6), 1, 350), way(2000, (4, 4, 4), 20, 1)),
    ]
    text = preparation.report(rows, preparation._options([]))
    assert "| 1,000 | 500 | 2.00 | 200 | 4.00 | 2.0 | 2.00 against 8.00 | 4.0 |" in text
    assert "Ratio at 1,000 chips: +2.0 (goal >= 3: not met)" in text
    assert "Ratio at 2,000 chips, until on disk: +4.0 (goal >= 3: met)" in text
    assert "percent: +25.0 (goal < 15: not met)" in text
    assert "Memory, MB: +150.0 (goal < 100: not met)" in text
