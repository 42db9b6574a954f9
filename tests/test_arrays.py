"""Arrays in files: sealed ones come back, and none that is not just as it was written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.arrays import new_array, seal, sealed_array

SHAPE = (7, 5, 3)


def write(path) -> np.ndarray:
    array = new_array(path, np.uint8, SHAPE)
    array[:] = np.arange(array.size).reshape(SHAPE)
    array.flush()
    seal(path)
    return np.array(array)


def test_a_sealed_array_comes_back_and_writing_into_it_changes_no_file(tmp_path):
    expected = write(tmp_path / "x.npy")
    mapped = sealed_array(tmp_path / "x.npy", np.uint8, SHAPE)
    np.testing.assert_array_equal(mapped, expected)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)  # any NumPy reads it
    mapped[:] = 0
    np.testing.assert_array_equal(sealed_array(tmp_path / "x.npy", np.uint8, SHAPE), expected)
    assert sealed_array(tmp_path / "x.npy", np.uint8, (7, 5, 4)) is None
    assert sealed_array(tmp_path / "x.npy", np.int8, SHAPE) is None
    with pytest.raises(FileNotFoundError):
        sealed_array(tmp_path / "absent.npy", np.uint8, SHAPE)


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
    assert sealed_array(path, np.uint8, SHAPE) is None
