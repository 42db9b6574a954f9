"""Protocols and variants: what is on, what departs, and how it is called."""

import pytest

from sarship.protocols import PROTOCOLS, PUBLISHED, STRICT, SWITCHES, UNNAMED, Variant, one_at_a_time


def variant(protocol: str, **changes) -> Variant:
    return Variant(protocol, {**PROTOCOLS[protocol], **UNNAMED, **changes})


def test_strict_has_no_flaw_and_published_all():
    assert not any(STRICT[name] for name in SWITCHES)
    assert all(PUBLISHED[name] for name in SWITCHES)
    assert variant("strict").flaws == ()
    assert variant("published").flaws == (*(name.replace("_", "-") for name in SWITCHES), "published-heads")
    assert STRICT.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(
    ("made", "label"),
    [
        (variant("strict"), ""),
        (variant("published"), "published"),
        (variant("published", random_split=False), "published_no-random-split"),
        (variant("strict", random_split=True, last_epoch=True), "random-split_last-epoch"),
        (variant("strict", loss="focal", sampler="balanced"), "focal_balanced-sampler"),
        (variant("strict", heads="published", unfreeze="last1"), "published-heads_unfreeze-last1"),
        (variant("published", learning_rate=None, augment="sar"), "published_augment-sar_own-rate"),
        (variant("strict", learning_rate=0.01), "rate-0.01"),
    ],
)
def test_labels(made, label):
    assert made.label == label


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_at_a_time_turns_each_difference_once(protocol):
    plain, *turned = one_at_a_time(variant(protocol))
    assert plain.changed == ()
    assert {each.changed for each in turned} == {(name,) for name in STRICT}
    assert len({each.label for each in turned}) == len(STRICT)
    other = PROTOCOLS["published" if protocol == "strict" else "strict"]
    assert all(each.options[each.changed[0]] == other[each.changed[0]] for each in turned)


def test_turning_everything_gives_the_other_protocol():
    turned = variant("strict", **PUBLISHED)
    assert turned.flaws == variant("published").flaws
    assert set(turned.changed) == set(STRICT)
