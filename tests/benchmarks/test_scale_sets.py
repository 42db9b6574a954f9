"""The benchmark of set sizes runs the real command, and its figures are of what ran."""

import sys

import pytest
import scale_sets

from tests.benchmarks.tables import rows_of


def test_it_runs_and_says_what_came_out(capsys):
    scale_sets.main(["--sizes", "40", "60", "--claim", "0", "--with-baselines", "50"])
    printed = capsys.readouterr().out
    rows = rows_of(printed)
    for chips in ("40", "60"):
        seconds, each, *parts, decoded, resident = map(float, rows[chips])
        assert each == pytest.approx(1000 * seconds / float(chips), rel=0.01)
        assert sum(parts) == pytest.approx(seconds, abs=0.5) and min(parts[1:]) >= 0 and parts[2] > 0
        assert decoded == 0 and 0.2 < resident < 3
    *_, other, _, resident, goal, met = rows["50"]
    assert float(other) > 0.5 and met == ("yes" if float(resident) < float(goal) else "no")
    assert "`python benchmarks/scale_sets.py --sizes 40 60 --claim 0 --with-baselines 50`" in printed


def test_memory_is_the_most_that_was_resident_and_not_what_is_left():
    use = "import time; held = bytearray(300_000_000); del held; time.sleep(0.5); print('done')"
    seconds, resident_bytes, printed = scale_sets.run_resident([sys.executable, "-c", use])
    assert 300e6 < resident_bytes < 400e6
    assert seconds > 0.5 and printed == "done\n"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        scale_sets.run_resident([sys.executable, "-c", "1 / 0"])


@pytest.mark.parametrize("power", [1, 2])
def test_the_exponent_is_that_of_the_growth(power):
    chips = [5_000, 20_000, 50_000]
    assert scale_sets.exponent(chips, [3e-6 * n**power for n in chips]) == pytest.approx(power)
    parts = dict.fromkeys(("start", *scale_sets.GROUPS))
    rows = [scale_sets.Trained(n, 2e-6 * n**power, dict.fromkeys(parts, 1e-6 * n**power), n, n) for n in [10, *chips]]
    assert scale_sets.growth_line(rows)[1:4] == [f"{power:.2f}", f"{power - 1:.2f}", f"{power:.2f}"]
    assert scale_sets.growth_line(rows[:2]) == []
