"""Arrays in files: sealed ones come back, and none that is not just as it was written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.arrays import new_array, seal, sealed_start

SHAPE = (7, 5, 3)


def write(path, dtype=np.uint8) -> np.ndarray:
    array = new_array(path, dtype, SHAPE)
    array[:] = np.arange(array.size).reshape(SHAPE)
    array.flush()
    seal(path)
    return np.array(array)


def start_in(path, dtype=np.uint8, shape=SHAPE) -> int | None:
    with path.open("rb") as file:
        return sealed_start(file, np.dtype(dtype), shape)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_sealed_array_lies_where_it_is_said_to(tmp_path, dtype):
    expected = write(tmp_path / "x.npy", dtype)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)  # any NumPy reads it
    start = start_in(tmp_path / "x.npy", dtype)
    found = np.frombuffer((tmp_path / "x.npy").read_bytes(), dtype, expected.size, start).reshape(SHAPE)
    np.testing.assert_array_equal(found, expected)
    assert start_in(tmp_path / "x.npy", dtype, (7, 5, 4)) is None
    assert start_in(tmp_path / "x.npy", dtype, (7, 3, 5)) is None  # as many bytes, and other chips
    assert start_in(tmp_path / "x.npy", np.dtype(dtype).str.replace("u1", "i1").replace("f4", "i4")) is None


@given(data=st.data())
def test_no_damaged_file_is_used(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "x.npy"
    write(path)
    whole = path.read_bytes()
    how = data.draw(st.sampled_from(["cut", "flip", "longer", "bytes"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = {
        "cut": whole[:place],
        "flip": whole[:place] + bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))]) + whole[place + 1 :],
        "longer": whole + bytes(place + 1),
        "bytes": data.draw(st.binary(max_size=200)),
    }[how]
    path.write_bytes(damaged)
    assert start_in(path) is None
