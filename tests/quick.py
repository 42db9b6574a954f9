"""The shortest training that there is, as a user starts it, and whether two of them left the same files."""

from pathlib import Path

import pandas as pd

import test_models

QUICK = ["--models", "CNN", "--epochs", "3", "--batch-size", "20", "--no-baselines", "--no-figures", "--no-timing"]


def train(out: Path, *words: str) -> pd.DataFrame:
    test_models.main([*QUICK, *words, "--out", str(out)])
    return pd.read_csv(out / "scores.csv", keep_default_na=False)


def same_files(one: Path, other: Path) -> None:
    """All tables and model files of both folders are the same to the byte, and nothing else is there."""
    for folder in (one, other):
        hidden = [path.name for path in folder.rglob(".*") if not path.name.endswith(".lock")]
        assert hidden == [], "nothing unfinished is left"
    for kind in ("*.csv", "trained_models/*.pt"):
        names = sorted(path.relative_to(one) for path in one.glob(kind))
        assert names == sorted(path.relative_to(other) for path in other.glob(kind)) != []
        for name in names:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
