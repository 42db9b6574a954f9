"""What a killed run goes on from, and from what not."""

import torch

from sarship import checkpoint
from sarship.checkpoint import Checkpoint

SETTINGS = {"epochs": 30, "learning_rate": 0.001, "classes": ["Cargo", "Tanker"], "pair": (1, 2)}


def begun(tmp_path, **changes) -> Checkpoint:
    return Checkpoint.beside(tmp_path / "CNN_Fusar.pt", SETTINGS | changes)


def test_a_state_comes_back_for_the_same_settings(tmp_path, capsys):
    assert begun(tmp_path).load() is None
    begun(tmp_path).save({"weight": torch.ones(3)})
    assert torch.equal(begun(tmp_path).load()["weight"], torch.ones(3))
    assert capsys.readouterr().err == ""
    begun(tmp_path).remove()
    assert list(tmp_path.iterdir()) == []


def test_another_option_starts_anew_and_says_which(tmp_path, capsys):
    begun(tmp_path).save({})
    assert begun(tmp_path, learning_rate=0.01).load() is None
    assert capsys.readouterr().err == "CNN_Fusar starts anew: it was begun with learning_rate = 0.001, not 0.01\n"
    assert begun(tmp_path, momentum=0.9).load() is None
    assert "momentum = null, not 0.9" in capsys.readouterr().err


def test_another_version_of_the_code_starts_anew(tmp_path, capsys, monkeypatch):
    begun(tmp_path).save({})
    monkeypatch.setattr(checkpoint, "made_by", lambda: "another")
    assert begun(tmp_path).load() is None
    assert "starts anew: it was begun by another version of the code" in capsys.readouterr().err


def test_a_damaged_state_starts_anew(tmp_path, capsys):
    mine = begun(tmp_path)
    mine.save({"weight": torch.ones(1000)})
    whole = mine.path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:1500] + bytes([whole[1500] ^ 1]) + whole[1501:], b"", b"text"):
        mine.path.write_bytes(damaged)
        assert mine.load() is None
        assert "CNN_Fusar starts anew: what it left behind is damaged" in capsys.readouterr().err
    torch.save({"made_by": checkpoint.made_by()}, mine.path)
    assert mine.load() is None
    assert "damaged" in capsys.readouterr().err
