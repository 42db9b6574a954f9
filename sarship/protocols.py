"""Protocols: what the published code did otherwise, each thing an option of its own, and the two bundles of them.

A protocol is nothing but default values for the options named here. The switches are the flaws of the published code
(numbered as in README.md, "How the numbers differ"); heads, loss, augment and learning_rate are its recipe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# name: what `test_models.py --name` does
SWITCHES = {
    "inverted_split": "train on the test chips and test on the training chips: 20 % train instead of 70 or 80",
    "random_split": "split chip by chip, so that one vessel is in several splits",
    "overlapping_mix": "split Mixed on its own, so that test chips of one set are training chips of another",
    "test_time_flip": "mirror test chips at random, as training chips are",
    "carry_weights_over": "start each training set from the weights that the one before it left",
    "drifting_batchnorm": "let the batch-norm statistics of frozen layers move",
    "detached_finetune": "let the optimizer of a transfer chain hold another copy of the model, so it learns nothing",
    "own_rows_scores": "score each class on its own chips only, so that its precision is 100 or 0",
    "pooled_cam": "point Grad-CAM of ResNets at the 1 x 1 pool, so that every heatmap is uniform",
    "last_epoch": "no validation set: its chips are trained on and the last epoch is kept",
}
STRICT = {
    **dict.fromkeys(SWITCHES, False),
    "heads": "fitted",
    "loss": "weighted_cross_entropy",
    "augment": "strict",
    "learning_rate": None,  # each model's own, see models.py
}
PUBLISHED = {
    **dict.fromkeys(SWITCHES, True),
    "heads": "published",  # ResNet: 10 distinct inputs; CNN: 822 million weights at 224 x 224
    "loss": "cross_entropy",
    "augment": "published",
    "learning_rate": 1e-3,
}
PROTOCOLS: dict[str, Mapping] = {"strict": STRICT, "published": PUBLISHED}
# Options that are no part of a protocol but of a run's name, and the value that goes without saying.
UNNAMED = {
    "sampler": "none",
    "unfreeze": "none",
    "optimizer": "adam",
    "momentum": 0.9,  # means nothing to Adam
    "final_learning_rate": 0.0,
    "batch_size": 32,  # this one and weight_decay are named only where a command has several values
    "weight_decay": 0.0,
    "freeze_to": None,
    "dropout": None,  # each head's own
    "batch_norm": True,
    "redeal": False,
    "train_chips": None,
    "imbalance": None,
}


@dataclass(frozen=True, eq=False)
class Variant:
    """A protocol and the options that depart from it. options: every key of STRICT and of UNNAMED, with its value."""

    protocol: str
    options: Mapping

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the options that are not as in the protocol, in the order of STRICT and UNNAMED."""
        usual = {**PROTOCOLS[self.protocol], **UNNAMED}
        return tuple(name for name in usual if self.options[name] != usual[name])

    @property
    def flaws(self) -> tuple[str, ...]:
        """Flaws that are switched on, as the options are written: random-split, ..., published-heads."""
        switched_on = [name.replace("_", "-") for name in SWITCHES if self.options[name]]
        return tuple(switched_on + ["published-heads"] * (self.options["heads"] == "published"))

    @property
    def label(self) -> str:
        """Part of file names: "" for strict as it is, published, published_no-random-split, focal_balanced-sampler."""
        protocol = [] if self.protocol == "strict" else [self.protocol]
        return "_".join(protocol + [_part(name, self.options[name]) for name in self.changed])


def _part(name: str, value) -> str:
    words = name.replace("_", "-").replace("learning-rate", "rate")
    if isinstance(value, bool):
        return words if value else f"no-{words}"
    if name in ("loss", "optimizer"):
        return value
    if name in ("heads", "sampler"):
        return f"{value}-{words}"
    if value is None:
        return f"own-{words}"
    return f"{words}-{value:g}" if isinstance(value, float) else f"{words}-{value}"


def one_at_a_time(variant: Variant) -> list[Variant]:
    """`variant`, and once for each option in which the protocols differ: the same with that one as the other has it."""
    other = next(name for name in PROTOCOLS if name != variant.protocol)
    turned = [
        Variant(variant.protocol, {**variant.options, name: value})
        for name, value in PROTOCOLS[other].items()
        if variant.options[name] != value
    ]
    return [variant, *turned]
