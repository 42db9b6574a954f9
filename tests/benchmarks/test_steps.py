"""benchmarks/steps.py runs, and its figures are those of what ran."""

import pytest
import steps
from side_by_side import Measured

from sarship.device import choose_device


@pytest.mark.parametrize("variant", [name for name in steps.VARIANTS if name != "compiled"])  # which has its own test
def test_every_variant_trains(variant, monkeypatch):
    monkeypatch.setattr(steps, "arrange_memory", lambda pixels: None)  # for good in this process otherwise
    assert steps.milliseconds_a_chip("CNN", 32, 4, variant, 1, choose_device("cpu", "auto")) > 0


@pytest.mark.parametrize("variant", steps.VARIANTS)
def test_every_variant_can_be_named_on_the_command_line(variant):
    assert steps.options(["--measure", "CNN", "64", "16", variant]).measure[-1] == variant


def test_variants_turn_what_they_say():
    def turned(variant: str) -> steps.Setting:
        setting = steps.Setting(steps.build("CNN", 3, 32), choose_device("cpu", "bfloat16"), 1000)
        steps.VARIANTS[variant](setting)
        return setting

    assert turned("float32").device.autocast_dtype == steps.torch.float32
    assert turned("no activations computed again").network.recomputed == 0
    assert turned("memory as the C library holds it").memory is None
    assert turned("freed memory kept").memory <= steps.MANY_PIXELS < turned("freed memory given back").memory
    assert not turned("Adam not fused").fused
    assert turned(steps.AS_IT_IS).network.recomputed > 0


def test_the_table_is_what_was_measured(monkeypatch):
    measured = iter([Measured(9.0, 2**30, "2.0\n"), Measured(9.0, 3 * 2**30, "5.0\n")])
    monkeypatch.setattr(steps, "measure", lambda command: next(measured))
    rows = steps.compare("CNN", 32, 4, steps.options(["--variants", steps.AS_IT_IS, "float32"]))
    assert [row[1:] for row in rows] == [["2.00", "1.00", "1.00"], ["5.00", "2.50", "3.00"]]
