"""Networks as ONNX files: what ONNX Runtime answers is what PyTorch does, through the command and for every network."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import predict
import test_models
from models import MODELS, build
from sarship import onnx_export
from sarship.command import UserError
from sarship.prepared import read_dataset
from tests.small import make_prepared

runtime = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (requirements-cluster.txt)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (requirements-cluster.txt)")
SIZE = 32
CLASSES = ["Cargo", "Fishing", "Tanker"]
# The frozen ones have the backbones of others.
DIFFERENT = [name for name, model in MODELS.items() if not model.frozen]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with CNN_Fusar.pt."""
    out = make_prepared(tmp_path_factory.mktemp("study"), ("Fusar",), size=SIZE)
    words = ["--models", "CNN", "--epochs", "1", "--batch-size", "16", "--device", "cpu", "--no-figures"]
    test_models.main([*words, "--out", str(out)])
    return out


def meta_of(name: str, bands: str = "grey") -> dict:
    return {"model": name, "trained": "Fusar", "image_size": SIZE, "classes": CLASSES, "bands": bands}


def network_of(name: str) -> torch.nn.Module:
    """With random weights, whose answers are not all alike: batch norm has the statistics of its maps, and no others.

    A moving average would still hold a third of the variance of 1 that it began with, and shrink maps layer by layer.
    """
    torch.manual_seed(0)
    network = build(name, len(CLASSES), SIZE)
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = None
    with torch.no_grad():
        for _ in range(10):
            network.train()(torch.rand(4, 1, SIZE, SIZE))
    return network.eval()


@pytest.mark.parametrize("name", DIFFERENT)
def test_every_network_answers_the_same(name, tmp_path):
    network = network_of(name)
    assert onnx_export.export(network, meta_of(name), tmp_path / "network.onnx") < 1e-4
    chips = np.random.default_rng(1).integers(0, 256, (7, SIZE, SIZE)).astype(np.uint8)
    (answers,) = runtime.InferenceSession(tmp_path / "network.onnx").run(None, {"chips": chips})
    with torch.no_grad():
        ours = torch.softmax(network(torch.from_numpy(chips)[:, None] / 255), dim=1).numpy()
    assert answers == pytest.approx(ours, abs=1e-4)
    assert np.ptp(answers, axis=0).max() > 1e-3  # they are not all one answer


def test_the_command_writes_a_file_that_answers_as_predict_does(trained, tmp_path, capsys):
    chips = read_dataset(trained, "Fusar").pixels("test")[:5]
    (tmp_path / "chips").mkdir()
    for number, pixels in enumerate(chips):
        Image.fromarray(pixels).save(tmp_path / "chips" / f"{number}.png")
    model, file = str(trained / "trained_models" / "CNN_Fusar.pt"), tmp_path / "cnn.onnx"
    predict.main([model, str(tmp_path / "chips"), "--export", str(file), "--csv", str(tmp_path / "a.csv"),
                  "--precision", "float32"])  # fmt: skip
    said = capsys.readouterr()
    assert f"{file}: written; ONNX Runtime's probabilities differ from PyTorch's by" in said.out
    assert "torch.onnx" not in said.out + said.err
    session = runtime.InferenceSession(file)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == CLASSES
    assert {name: told[name] for name in ("model", "trained", "image_size", "bands")} == {
        "model": "CNN", "trained": "Fusar", "image_size": str(SIZE), "bands": "grey",
    }  # fmt: skip
    assert str(Path(__file__).resolve().parent.parent).encode() not in file.read_bytes()  # nobody's folders
    (answers,) = session.run(["probabilities"], {"chips": chips})
    assert answers == pytest.approx(pd.read_csv(tmp_path / "a.csv")[[f"p_{name}" for name in CLASSES]], abs=1e-4)


def test_without_files_there_is_nothing_to_predict_on(trained, tmp_path, capsys):
    predict.main([str(trained / "trained_models" / "CNN_Fusar.pt"), "--export", "cnn.onnx", "--out", str(tmp_path)])
    assert (tmp_path / "cnn.onnx").is_file()
    assert capsys.readouterr().out.count("\n") == 1


def test_chips_in_colour(tmp_path):
    network = network_of("CNN")
    onnx_export.export(network, meta_of("CNN", "rgb"), tmp_path / "cnn.onnx")
    chips = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    session = runtime.InferenceSession(tmp_path / "cnn.onnx")
    (answers,) = session.run(None, {"chips": chips})
    with torch.no_grad():
        ours = torch.softmax(network(torch.from_numpy(chips).movedim(-1, 1) / 255), dim=1).numpy()
    assert answers == pytest.approx(ours, abs=1e-4)


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path, monkeypatch):
    write = onnx_export._write

    def write_another(answering, shape, path):
        with torch.no_grad():
            answering.network.classifier[-1].bias[0] += 1
        write(answering, shape, path)
        with torch.no_grad():
            answering.network.classifier[-1].bias[0] -= 1

    monkeypatch.setattr(onnx_export, "_write", write_another)
    with pytest.raises(UserError, match="is not written, as ONNX Runtime's probabilities differ"):
        onnx_export.export(network_of("CNN"), meta_of("CNN"), tmp_path / "cnn.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_absent_packages_are_said_in_one_line(package, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="--export: needs onnx, onnxscript and onnxruntime"):
        predict.main([str(trained / "trained_models" / "CNN_Fusar.pt"), "--export", str(tmp_path / "a.onnx")])
    assert not list(tmp_path.iterdir())


def test_a_model_file_is_not_written_over(trained):
    model = trained / "trained_models" / "CNN_Fusar.pt"
    before = model.read_bytes()
    with pytest.raises(UserError, match="name a file that ends in"):
        predict.main([str(model), "--export", str(model)])
    assert model.read_bytes() == before


def test_a_baseline_is_no_network(trained, tmp_path):
    with pytest.raises(UserError, match="is of Majority, which is not kept"):
        predict.main([str(trained / "trained_models" / "Majority_Fusar.pt"), "--export", str(tmp_path / "a.onnx")])
