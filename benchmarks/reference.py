"""The plain loop that grid.py and gpu.py measure against: training as the published scripts do it, written anew.

    python benchmarks/reference.py --out DIR --models VGG --trained Fusar --epochs 10 --table reference.csv

Every epoch decodes every image again in two worker processes, in float32; every image goes through the whole network,
whether its backbone is frozen or not; the loss is read back after every batch; test sets come one after the other.
Where that leaves a choice, it is made as in test_models.py, so that the scores of both can be compared: the same
networks, first weights and learning rates, the epoch picked on val, test images as they are. Reads prepared/ below
--out and writes one row a run and test set, with the columns of scores.csv.
"""

import argparse
import copy
import math
import sys
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models import MODELS, SHIP_MODELS, ShipNetwork, build, load_imagenet_backbone, load_trained_backbone
from sarship.scores import SetResult, macro_f1, score

AS_IT_IS = transforms.ToTensor()
MIRRORED = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])  # --augment published


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder that holds prepared/")
    add("--table", type=Path, required=True, help="CSV file to write")
    add("--models", nargs="+", choices=list(SHIP_MODELS), default=list(SHIP_MODELS))
    add("--trained", nargs="+", metavar="DATASET", help="without: all prepared data sets")
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=64)
    add("--seed", type=int, default=1)
    add("--backbone", default="imagenet", metavar="imagenet|random|PATH", help="where frozen backbones start")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--workers", type=int, default=2, help="processes that decode")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Data:
    """The loaders of one training set, and the folders of all test sets by name."""

    train: DataLoader
    val: DataLoader
    tests: dict[str, DataLoader]


def load(chosen: argparse.Namespace, trained: str) -> Data:
    prepared = chosen.out / "prepared"

    def loader(dataset: str, split: str, transform=AS_IT_IS, shuffle: bool = False) -> DataLoader:
        images = ImageFolder(prepared / dataset / split, transform)
        return DataLoader(images, chosen.batch_size, shuffle, num_workers=chosen.workers)

    tests = {name: loader(name, "test") for name in datasets_below(prepared)}
    data = Data(loader(trained, "train", MIRRORED, shuffle=True), loader(trained, "val"), tests)
    for other in (data.val, *tests.values()):
        if other.dataset.classes != data.train.dataset.classes:  # ImageFolder numbers the classes that it finds
            raise SystemExit(f"{other.dataset.root}: has not the classes of {data.train.dataset.root}; use more chips")
    return data


def datasets_below(prepared: Path) -> list[str]:
    """Names of the prepared data sets."""
    return sorted(path.parent.name for path in prepared.glob("*/manifest.csv"))


def start(model: str, classes: int, data: Data, chosen: argparse.Namespace) -> ShipNetwork:
    """The network with its first weights, on the device."""
    image_size = data.val.dataset[0][0].shape[-1]
    torch.manual_seed(chosen.seed)
    network = build(model, classes, image_size)
    if not MODELS[model].frozen or chosen.backbone == "random":
        network.scale_input(*mean_and_deviation(data.train))
    elif chosen.backbone == "imagenet":
        load_imagenet_backbone(network, model)
    else:
        load_trained_backbone(network, Path(chosen.backbone))
    return network.to(chosen.device)


def mean_and_deviation(train: DataLoader) -> tuple[float, float]:
    """Of all pixels of the training chips, in 0..1. Flips move neither."""
    pixels = count = squares = 0.0
    for images, _ in train:
        one_channel = images[:, 0].double()  # ImageFolder repeats grey three times
        pixels += one_channel.sum().item()
        squares += one_channel.square().sum().item()
        count += one_channel.numel()
    mean = pixels / count
    return mean, math.sqrt(squares / count - mean**2)


def rate_factor(epochs_done: float, epochs: int) -> float:
    """Share of the learning rate, as test_models.py has it: a tenth of the run to warm up, and a cosine to zero."""
    done = epochs_done / epochs
    return min(1.0, 10 * (done + 0.01)) * (1 + math.cos(math.pi * done)) / 2


def forward(network: ShipNetwork, images: Tensor) -> Tensor:
    """Logits of images (images, 3, rows, cols) in 0..1: layer by layer, without any shortcut of the network's own."""
    return network.classifier(network.features((images - network.input_mean) / network.input_std))


def train_one_epoch(network: ShipNetwork, loader: DataLoader, optimizer, scheduler, device: str) -> float:
    """Mean loss."""
    network.train()
    running_loss = 0.0
    for images, labels in loader:
        if len(images) > 1 or len(loader) == 1:  # batch norm has no variance over one chip
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(forward(network, images), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(images)
        scheduler.step()
    return running_loss / len(loader.dataset)


@torch.no_grad()
def evaluate(network: ShipNetwork, loader: DataLoader, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (chips,) and class probabilities (chips, classes) float64."""
    network.eval()
    labels: list[Tensor] = []
    probabilities: list[Tensor] = []
    for images, batch_labels in loader:
        logits = forward(network, images.to(device))
        probabilities.append(torch.softmax(logits.double(), dim=1).cpu())
        labels.append(batch_labels)
    return torch.cat(labels).numpy(), torch.cat(probabilities).numpy()


def train(network: ShipNetwork, model: str, data: Data, chosen: argparse.Namespace) -> list[float]:
    """Train in place; the network ends with the weights of its best epoch on val. Returns the seconds of each epoch."""
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learnt, lr=MODELS[model].learning_rate)
    batches = len(data.train)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step / batches, chosen.epochs))
    best, best_weights, seconds = (-1.0, 0.0), {}, []
    for epoch in range(1, chosen.epochs + 1):
        started = time.monotonic()
        train_loss = train_one_epoch(network, data.train, optimizer, scheduler, chosen.device)
        labels, probabilities = evaluate(network, data.val, chosen.device)
        val_loss = -np.log(probabilities[np.arange(len(labels)), labels].clip(1e-12)).mean()
        val_f1 = macro_f1(labels, probabilities.argmax(1), probabilities.shape[1])
        if (val_f1, -val_loss) > best:
            best, best_weights = (val_f1, -val_loss), copy.deepcopy(network.state_dict())
        seconds.append(time.monotonic() - started)
        print(f"{model} epoch {epoch}: loss {train_loss:.4f}, val loss {val_loss:.4f}, val macro-F1 {100 * val_f1:.2f}")
    network.load_state_dict(best_weights)
    return seconds


def test(network: ShipNetwork, model: str, trained: str, data: Data, chosen: argparse.Namespace) -> list[SetResult]:
    """What the network answers on every test set."""
    results = []
    for tested, loader in data.tests.items():
        labels, probabilities = evaluate(network, loader, chosen.device)
        chips = [Path(path).stem for path, _ in loader.dataset.samples]
        manifest = pd.read_csv(chosen.out / "prepared" / tested / "manifest.csv", dtype=str, keep_default_na=False)
        vessel_of = dict(zip(manifest["chip"], manifest["vessel"], strict=True))
        classes = tuple(loader.dataset.classes)
        vessels = [vessel_of[chip] for chip in chips]
        results.append(SetResult(trained, tested, model, chosen.seed, classes, chips, vessels, labels, probabilities))
    return results


def timing(epoch_seconds: list[float], test_seconds: float) -> dict[str, float]:
    """Columns of the table. EpochSeconds is the mean without the first epoch, which warms up, unless it is alone."""
    return {
        "Seconds": sum(epoch_seconds) + test_seconds,
        "FirstEpochSeconds": epoch_seconds[0],
        "EpochSeconds": float(np.mean(epoch_seconds[1:] or epoch_seconds)),
        "TestSeconds": test_seconds,
    }


def run(model: str, trained: str, chosen: argparse.Namespace) -> tuple[list[SetResult], list[dict]]:
    """Train one model on one set and test it on all: its answers, and its rows of the table."""
    data = load(chosen, trained)
    network = start(model, len(data.train.dataset.classes), data, chosen)
    epoch_seconds = train(network, model, data, chosen)
    started = time.monotonic()
    results = test(network, model, trained, data, chosen)
    scores = [score(result) for result in results]
    took = timing(epoch_seconds, time.monotonic() - started)
    size = {"TrainChips": len(data.train.dataset), "Epochs": chosen.epochs}
    return results, [row | size | took for row in scores]


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    names = chosen.trained or datasets_below(chosen.out / "prepared")
    rows = [row for model, trained in product(chosen.models, names) for row in run(model, trained, chosen)[1]]
    pd.DataFrame(rows).to_csv(chosen.table, index=False)


if __name__ == "__main__":
    main()
