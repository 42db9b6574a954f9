"""How chips lie in each dense layer, as t-SNE draws it: by class, and by data set, where a domain gap shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch import nn

from sarship.command import UserError
from sarship.figures import new_figure, save_figure
from sarship.interpretation.drawing import group_styles, legend_below
from sarship.interpretation.neighbours import NEIGHBOURS, told_apart
from sarship.interpretation.outputs import INTO, NoSuchLayer, outputs_of
from sarship.prepared import PreparedSet

# Wider layers are brought to so many principal components first: it takes out noise and time, as the authors did
# (van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 9, 2008, section 4.2: 30; scikit-learn advises 50).
COMPONENTS = 50
KINDS = ("class", "dataset")  # columns of the manifest that chips are told apart by
NEIGHBOUR_COLUMNS = (
    "layer", "width", "told_apart", "groups", "accuracy", "low", "high", "balanced_accuracy", "chance",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cloud:
    """The chips that are shown. pixels: (chips, rows, cols[, 3]) uint8; rows: their manifest rows."""

    pixels: np.ndarray
    rows: pd.DataFrame


def gather(sets: Mapping[str, PreparedSet], most: int) -> Cloud:
    """At most `most` test chips, evenly over all of the sets, each chip once: Mixed holds those of other sets again.

    Raises UserError if the sets have no test chips, or chips of different sizes or bands.
    """
    rows = pd.concat([each.rows("test").assign(tested=name) for name, each in sets.items()])
    rows = rows.assign(place=rows.groupby("tested", sort=False).cumcount())
    rows = rows.drop_duplicates(["dataset", "chip"], ignore_index=True)
    if rows.empty:
        raise UserError(f"{', '.join(sets)}: have no test chips; run dataset_prep.py with another --split")
    if len({(each.image_size, each.bands) for each in sets.values()}) > 1:
        raise UserError(f"{', '.join(sets)}: are of different sizes or bands; name sets that are alike with --tested")
    if len(rows) > most:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, most).round().astype(int)].reset_index(drop=True)
    pixels = [sets[name].pixels("test")[of_set["place"]] for name, of_set in rows.groupby("tested", sort=False)]
    return Cloud(np.concatenate(pixels), rows)


def dense_layers(network: nn.Module) -> list[str]:
    """What goes into the head's first dense layer, which is the pooled features, and every dense layer, in order.

    Raises NoSuchLayer if there is no dense layer.
    """
    layers = network.classifier.named_modules()
    dense = [f"classifier.{name}" for name, layer in layers if isinstance(layer, nn.Linear)]
    if not dense:
        raise NoSuchLayer("the head has no dense layer")
    return [f"{INTO}{dense[0]}", *dense]


def dense_outputs(
    network: nn.Module, names: Sequence[str], pixels: np.ndarray, batch_size: int
) -> dict[str, np.ndarray]:
    """(chips, width) float32 of each layer."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _, outputs in outputs_of(network, names, pixels, batch_size, "dense layers"):
        for name, output in outputs.items():
            found[name].append(output.flatten(1).float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def embed(features: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """(chips, 2) places by t-SNE from a start along the first two principal components; the same for the same seed.

    perplexity: how many neighbours a chip has, about (van der Maaten and Hinton advise 5 to 50).
    Raises UserError for fewer chips than that.
    """
    if len(features) <= perplexity:
        raise UserError(f"--perplexity {perplexity:g}: needs more chips than that, and there are {len(features)}")
    components = min(COMPONENTS, len(features))
    if features.shape[1] > components:
        features = PCA(components, random_state=seed).fit_transform(features)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)


def neighbour_rows(layer: str, features: np.ndarray, rows: pd.DataFrame) -> list[dict]:
    """What `told_apart` says of class and data set; nothing where there is only one."""
    found = []
    for kind in KINDS:
        figures = told_apart(features, rows[kind].tolist(), rows["vessel"].tolist())
        if figures:
            found.append({"layer": layer, "width": features.shape[1], "told_apart": kind, **figures})
    return found


def draw_cloud(places: np.ndarray, rows: pd.DataFrame, figures: Sequence[dict], path: Path, title: str) -> None:
    """The same places twice: coloured by class, and by data set; above each, what the nearest neighbours say."""
    figure = new_figure(13, 6.2)
    by_kind = {row["told_apart"]: row for row in figures}
    for axes, kind, name in zip(figure.subplots(1, 2), KINDS, ("class", "data set"), strict=True):
        _scatter(axes, places, rows[kind].to_numpy())
        axes.set_title(_heading(name, by_kind.get(kind)), fontsize="medium")
    figure.suptitle(title)
    save_figure(figure, path)


def _heading(name: str, figures: dict | None) -> str:
    if figures is None:
        return f"by {name}: there is one only"
    right, chance = 100 * figures["balanced_accuracy"], 100 * figures["chance"]
    return f"by {name}: {NEIGHBOURS} nearest neighbours tell {right:.0f} % (no difference: {chance:.0f} %)"


def _scatter(axes: Axes, places: np.ndarray, names: np.ndarray) -> None:
    known, groups = np.unique(names, return_inverse=True)
    styles = group_styles(len(known))
    colours, markers = (np.array(column) for column in zip(*styles, strict=True))
    order = np.random.default_rng(0).permutation(len(places))  # of two groups in one place, neither covers the other
    for marker in dict.fromkeys(markers):
        shown = order[markers[groups[order]] == marker]
        axes.scatter(*places[shown].T, s=14, c=colours[groups[shown]], marker=marker, alpha=0.75, linewidths=0)
    axes.set(xticks=[], yticks=[], aspect="equal")
    legend_below(axes, known)


def summary_table(neighbours: pd.DataFrame) -> str:
    """Layers by what they tell apart, in percent with chance beside it, for the terminal."""
    shown = neighbours.assign(
        percent=[
            f"{100 * row.balanced_accuracy:.0f} ({100 * row.chance:.0f})" for row in neighbours.itertuples(index=False)
        ]
    )
    table = shown.pivot_table(
        index=["layer", "width"], columns="told_apart", values="percent", aggfunc="first", sort=False
    )
    return table.reset_index().rename_axis(columns=None).to_string(index=False)
