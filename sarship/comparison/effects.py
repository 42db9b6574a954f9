"""What an option changes: the published flaws one at a time, losses and samplers, and every other setting.

Tables as in tables.py, on each configuration's own test set (that of the data set it trains on). An effect is the
figure with the option turned less the figure of the protocol as it is.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from sarship.command import UserError
from sarship.comparison.configurations import Configuration
from sarship.comparison.statistics import (
    Answers,
    Bootstrap,
    Difference,
    common_seeds,
    same_answers,
    same_chips,
    same_deals,
)
from sarship.comparison.tables import (
    all_tested,
    compare,
    difference_columns,
    figure_columns,
    find,
    seed_counts,
    with_holm,
)
from sarship.protocols import PROTOCOLS, SWITCHES, UNNAMED, Variant, one_at_a_time

CHANGES = {"strict": "turned on from strict", "published": "mended from published"}
# Options that change how a run is tested or shown: both sides of a comparison have the same weights, seed by seed.
TESTING_OPTIONS = ("test_time_flip", "own_rows_scores", "pooled_cam")
# What options change that leave every answer of a model as it is.
TOUCHES_ONLY = {
    "own_rows_scores": "precision, F1 and accuracy of each class",
    "pooled_cam": "the heatmaps of grad_cams.py",
}
UNTOUCHED = Difference(0.0, np.nan, np.nan, np.nan)  # the same answers: there is nothing to be unsure of
EFFECT_FIGURES = ("MacroF1", "Accuracy")
REFERENCE_LOSS, REFERENCE_SAMPLER = "cross_entropy", UNNAMED["sampler"]


def turns(protocol: str) -> dict[str, Variant]:
    """The options in which the protocols differ, and the protocol with that one as the other has it."""
    plain = Variant(protocol, {**PROTOCOLS[protocol], **UNNAMED})
    return {turned.changed[0]: turned for turned in one_at_a_time(plain)[1:]}


def as_option(name: str, value) -> str:
    """An option and its value as test_models.py takes them, without dashes in front: no-random-split, loss focal."""
    option = name.replace("_", "-")
    if name in SWITCHES:
        return option if value else f"no-{option}"
    return f"{option} {'of each model' if value is None else value}"


def flaws(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """Effect of each option in which the protocols differ, turned alone, per model and training set.

    Change says from which protocol. Where there are common seeds, only these are compared. Touched: whether any answer
    is another one; where none is, the effect is 0 and has no interval. Chips: whether both sides were tested on the
    same ones; a flaw of the split changes them.
    """
    rows = []
    for option, turned, reference in _turned_pairs(configurations):
        ours, theirs, paired = _sides(option, turned.own, reference.own)
        touched = not same_answers(ours, theirs)
        rows.append(
            {
                "Change": CHANGES[turned.protocol],
                "Option": as_option(option, turns(turned.protocol)[option].options[option]),
                "Model": turned.model,
                "Trained": turned.trained,
                "Seeds": seed_counts(ours, theirs),
                "Chips": "same" if same_chips(ours, theirs) else "other",
                "Touched": touched,
                "As it is": theirs.mean("MacroF1"),
                "Turned": ours.mean("MacroF1"),
            }
        )
        for figure in EFFECT_FIGURES:
            effect = bootstrap.difference([(ours, theirs)], figure, paired) if touched else UNTOUCHED
            rows[-1] |= difference_columns(figure, effect)
    return with_holm(pd.DataFrame(rows), *EFFECT_FIGURES)


def flaw_summary(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """Effect of each option, mean over the networks and training sets that it touches; baselines are left out.

    The interval is for these networks and training sets: it is over their vessels and seeds. "Touched" is a count,
    "3 of 10"; where it is none, the effect is 0 and "Only touches" says what the option is about, if it is known.
    """
    groups: dict[tuple[str, str], list[tuple[Answers, Answers, bool]]] = {}
    for option, turned, reference in _turned_pairs(configurations):
        if not turned.is_baseline:
            groups.setdefault((turned.protocol, option), []).append(_sides(option, turned.own, reference.own))
    rows = []
    for (protocol, option), sides in groups.items():
        touched = [(ours, theirs) for ours, theirs, _ in sides if not same_answers(ours, theirs)]
        rows.append(
            {
                "Change": CHANGES[protocol],
                "Option": as_option(option, turns(protocol)[option].options[option]),
                "Touched": f"{len(touched)} of {len(sides)}",
            }
        )
        for figure in EFFECT_FIGURES:
            effect = bootstrap.difference(touched, figure, sides[0][2]) if touched else UNTOUCHED
            rows[-1] |= difference_columns(figure, effect)
        rows[-1]["Only touches"] = TOUCHES_ONLY.get(option, "")
    return with_holm(pd.DataFrame(rows), *EFFECT_FIGURES)


def _turned_pairs(configurations: Sequence[Configuration]) -> Iterable[tuple[str, Configuration, Configuration]]:
    """(option, the configuration with it turned, the same as its protocol has it), in the order of the options."""
    for protocol in PROTOCOLS:
        for option, variant in turns(protocol).items():
            for turned in configurations:
                if (turned.protocol, turned.variant) == (protocol, variant.label) and turned.own:
                    reference = find(configurations, turned.model, turned.trained, protocol)
                    if reference and reference.own:
                        yield option, turned, reference


def _sides(option: str, turned: Answers, reference: Answers) -> tuple[Answers, Answers, bool]:
    """Both sides of an effect, and whether their seeds are the same weights; with common seeds, only these."""
    seeds = [{result.seed for result in answers.results} for answers in (turned, reference)]
    if not seeds[0] & seeds[1]:
        return turned, reference, False
    same_weights = option in TESTING_OPTIONS
    return (
        (turned, reference, same_weights) if seeds[0] == seeds[1] else (*common_seeds(turned, reference), same_weights)
    )


def own_rows_precision(configurations: Sequence[Configuration]) -> pd.DataFrame:
    """What own-rows-scores makes of precision: of each class over all chips, and over the chips of that class only.

    Mean over seeds. On its own chips every answer that is the class is right: 100, or 0 where there is none.
    """
    rows = []
    for option, turned, _ in _turned_pairs(configurations):
        if option == "own_rows_scores":
            answers = turned.own
            rows.append({"Protocol": turned.protocol, "Model": turned.model, "Trained": turned.trained})
            for name in answers.classes:
                rows[-1][f"{name}: all chips"] = answers.mean(f"Precision {name}")
                rows[-1][f"{name}: own chips"] = 100 * float((answers.of_seeds(f"Recall {name}") > 0).mean())
    return pd.DataFrame(rows)


def loss_configurations(configurations: Sequence[Configuration], tested: str) -> list[Configuration]:
    """Strict but for loss and sampler, of the models and training sets of which several are there, on their own set."""
    chosen = [
        each
        for each in configurations
        if each.protocol == "strict" and set(each.changed) <= {"loss", "sampler"} and each.loss
        if each.target == tested and each.own
    ]
    counts = pd.Series([(each.model, each.trained) for each in chosen], dtype=object).value_counts()
    return [each for each in chosen if counts[each.model, each.trained] > 1]


def classes_by_rarity(answers: Answers) -> list[str]:
    """The classes, that with the fewest test chips first; those without any last, for nothing can be said of them."""
    counts = answers.chips_of_class
    return [answers.classes[index] for index in np.lexsort((counts, counts == 0))]


def losses(
    configurations: Sequence[Configuration], tested: str, figures: Sequence[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    """Figures of each loss and sampler, and "<figure> gain" over cross-entropy without a sampler.

    No gain where that reference was not run; the reference itself has none.
    """
    rows = []
    chosen = loss_configurations(configurations, tested)
    references = {(each.model, each.trained): each for each in chosen if is_reference(each)}
    for each in sorted(chosen, key=_reference_first):
        reference = references.get((each.model, each.trained))
        rows.append({"Model": each.model, "Trained": each.trained, "Loss": each.loss, "Sampler": each.sampler})
        rows[-1] |= {"Seeds": each.own.seeds, "Collapsed": each.own.collapsed}
        for figure in figures:
            other = reference.own if reference and reference is not each else None
            rows[-1][figure] = each.own.mean(figure)
            rows[-1] |= difference_columns(f"{figure} gain", compare(each.own, other, figure, bootstrap))
    return with_holm(pd.DataFrame(rows), *(f"{figure} gain" for figure in figures))


def _reference_first(each: Configuration) -> tuple:
    """Order of loss tables: the reference, then loss by loss, without a sampler first."""
    unsampled = each.sampler == REFERENCE_SAMPLER
    return each.model, each.trained, each.loss != REFERENCE_LOSS, each.loss, not unsampled, each.sampler


def is_reference(configuration: Configuration) -> bool:
    """Whether losses and samplers are held against this one: plain cross-entropy, every chip once."""
    return (configuration.loss, configuration.sampler) == (REFERENCE_LOSS, REFERENCE_SAMPLER)


def other_settings(configurations: Sequence[Configuration], bootstrap: Bootstrap) -> pd.DataFrame:
    """Effect of all that no other table is about: several options turned at once, other values, augmentations ..."""
    told = {each for each in configurations if each.is_plain or ("+" in each.trained and each.changed == ("unfreeze",))}
    told |= {turned for _, turned, _ in _turned_pairs(configurations)}
    told |= {each for tested in all_tested(configurations) for each in loss_configurations(configurations, tested)}
    rows = []
    for each in configurations:
        if each in told or each.own is None:
            continue
        plain = find(configurations, each.model, each.trained, each.protocol)
        reference = plain.own if plain else None
        rows.append(
            {
                "Model": each.model,
                "Trained": each.trained,
                "Variant": each.variant,
                "Seeds": seed_counts(each.own, reference),
                "Chips": "same" if reference and same_chips(each.own, reference) else "other",
                "MacroF1": each.own.mean("MacroF1"),
                **difference_columns("Effect", compare(each.own, reference, "MacroF1", bootstrap)),
            }
        )
    return with_holm(pd.DataFrame(rows), "Effect")


def against(configurations: Sequence[Configuration], variant: str, bootstrap: Bootstrap) -> pd.DataFrame:
    """Figures of every configuration, and "<figure> effect" over that of its model and training set called `variant`.

    Figures have their intervals over vessels and seeds. The reference comes first and has no effect. Chips: whether
    both sides were tested on the same ones; of repeated splits, whether each seed was.
    Raises UserError if no configuration has that variant.
    """
    networks = [each for each in configurations if each.own and not each.is_baseline]
    references = {(each.model, each.trained): each for each in networks if each.variant == variant}
    if not references:
        there = ", ".join(dict.fromkeys(repr(each.variant) for each in networks))
        raise UserError(f"--reference {variant!r}: nothing was run with that; there are {there}")
    rows = []
    for key, reference in references.items():
        others = [each for each in networks if (each.model, each.trained) == key and each is not reference]
        for each in (reference, *others):
            other = None if each is reference else reference.own
            same = each is reference or same_chips(each.own, other) or same_deals(each.own, other)
            rows.append({"Model": each.model, "Trained": each.trained, "Variant": each.variant})
            rows[-1] |= {"Seeds": each.own.seeds, "Chips": "same" if same else "other"}
            for figure in EFFECT_FIGURES:
                rows[-1] |= figure_columns(figure, figure, each.own, bootstrap)
                rows[-1] |= difference_columns(f"{figure} effect", compare(each.own, other, figure, bootstrap))
    return with_holm(pd.DataFrame(rows), *(f"{figure} effect" for figure in EFFECT_FIGURES))
