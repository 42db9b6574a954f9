"""Files of tensors: the same bytes for the same content, nothing that is damaged or carries code is used."""

import pickle
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sarship.tensor_files import AT_ONCE_BYTES, DamagedError, check_tensors, load_tensors, save_tensors

LARGE = AT_ONCE_BYTES // 4 + 1000  # float32 numbers: more than is checked when a file is opened


def content() -> dict:
    return {"state": {"weight": torch.arange(LARGE, dtype=torch.float32)}, "meta": {"model": "CNN", "epochs": 3}}


def test_the_same_content_gives_the_same_bytes_under_any_name(tmp_path):
    save_tensors(tmp_path / "one.pt", content())
    again = load_tensors(tmp_path / "one.pt")  # what was read shares no object with what is written in the code
    save_tensors(tmp_path / "other.pt", {"state": again["state"], "meta": {"model": "CNN", "epochs": 3}})
    save_tensors(tmp_path / "third.pt", again)
    data = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(data) == 1


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(meta=plain)
def test_plain_values_come_back_as_they_were(tmp_path_factory, meta):
    path = tmp_path_factory.mktemp("plain") / "x.pt"
    save_tensors(path, {"meta": meta})
    assert load_tensors(path) == {"meta": meta}


def flip(path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_in_the_weights_is_seen_when_they_are_used(tmp_path):
    path = tmp_path / "x.pt"
    save_tensors(path, content())
    flip(path, path.stat().st_size // 2)
    with pytest.raises(DamagedError, match="not as written"):
        load_tensors(path)
    mapped = load_tensors(path, mapped=True)  # looks at small entries only
    assert mapped["meta"]["model"] == "CNN"
    with pytest.raises(DamagedError, match="not as written"):
        check_tensors(path)


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_that_is_cut_is_refused(tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / "x.pt"
    save_tensors(path, {"state": {"weight": torch.ones(100)}})
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    for mapped in (False, True):
        with pytest.raises(DamagedError):
            load_tensors(path, mapped)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def test_a_file_that_carries_code_is_refused_and_the_code_is_not_run(tmp_path):
    marker, zipped, bare = tmp_path / "was_run", tmp_path / "zipped.pt", tmp_path / "bare.pt"
    torch.save({"state": {}, "meta": Payload(marker)}, zipped)
    bare.write_bytes(pickle.dumps({"state": Payload(marker)}))
    for path in (zipped, bare):
        for mapped in (False, True):
            with pytest.raises(DamagedError):
                load_tensors(path, mapped)
    assert not marker.exists()
    pickle.loads(bare.read_bytes())  # the payload is one
    assert marker.exists()


def test_compressed_entries_and_files_of_another_kind_are_refused(tmp_path):
    save_tensors(tmp_path / "x.pt", content())
    with zipfile.ZipFile(tmp_path / "x.pt") as stored, zipfile.ZipFile(tmp_path / "y.pt", "w", 8) as packed:
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))
    with pytest.raises(DamagedError, match="not written by PyTorch"):
        load_tensors(tmp_path / "y.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DamagedError, match="holds a list"):
        load_tensors(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError):
        load_tensors(tmp_path / "absent.pt")
