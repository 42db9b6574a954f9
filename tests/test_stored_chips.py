"""Chips in their file: to whoever indexes them they are an array, and they take no memory."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from sarship.arrays import new_array, seal
from sarship.command import UserError
from sarship.stored_chips import joined, open_chips

SHAPES = ((23, 6, 5), (9, 4, 4, 3))


def written(path, shape, seed=0) -> np.ndarray:
    """Random chips, in a sealed file."""
    chips = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    new_array(path, np.uint8, shape)[:] = chips
    seal(path)
    return chips


@pytest.fixture(scope="module", params=SHAPES)
def both(request, tmp_path_factory):
    """The same chips, stored and as an array."""
    path = tmp_path_factory.mktemp("stored") / "x.npy"
    chips = written(path, request.param)
    return open_chips(path, request.param), chips


def indices(count: int):
    """Whatever one axis of an array can be indexed by."""
    single = st.integers(-count, count - 1)
    several = st.lists(single, min_size=1, max_size=40)
    arrays = of_numpy.arrays(np.int64, of_numpy.array_shapes(max_dims=2, max_side=5), elements=single)
    masks = of_numpy.arrays(bool, count)
    basic = of_numpy.basic_indices((count,), allow_ellipsis=False)
    return st.one_of(single, st.just(...), basic, several, arrays, masks)


@given(data=st.data())
def test_any_index_gives_what_numpy_gives(both, data):
    stored, chips = both
    index = data.draw(indices(len(chips)))
    found = stored[index]
    np.testing.assert_array_equal(found, chips[index])
    assert found.dtype == np.uint8
    assert found.flags.writeable


@given(data=st.data())
def test_chosen_and_joined_chips_are_those_of_an_array(both, data):
    stored, chips = both
    count = st.lists(st.integers(0, len(chips) - 1), min_size=1, max_size=30)
    first, second = np.array(data.draw(count)), np.array(data.draw(count))
    in_memory = chips[::-1].copy()
    lazy = joined([stored.chosen(first), in_memory, stored.chosen(second)])
    plain = np.concatenate([chips[first], in_memory, chips[second]])
    assert lazy.shape == plain.shape and lazy.nbytes == plain.nbytes and lazy.ndim == plain.ndim
    index = data.draw(indices(len(plain)))
    np.testing.assert_array_equal(lazy[index], plain[index])
    kept = data.draw(of_numpy.arrays(bool, len(plain)))
    np.testing.assert_array_equal(lazy.chosen(kept), plain[kept])
    for size in (1, 7, 1000):
        np.testing.assert_array_equal(np.concatenate(list(lazy.blocks(size))), plain)
    np.testing.assert_array_equal(np.stack(list(lazy)), plain)


def test_as_an_array_and_with_several_indices(both):
    stored, chips = both
    np.testing.assert_array_equal(np.asarray(stored), chips)
    assert np.asarray(stored, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(stored[2:7, ::2, 1], chips[2:7, ::2, 1])
    with pytest.raises(ValueError, match="without being read"):
        np.asarray(stored, copy=False)
    with pytest.raises(IndexError):
        stored[len(chips)]
    with pytest.raises(IndexError):
        stored[..., 0]
    assert len(stored[[]]) == 0 and stored.chosen(slice(0, 0)).shape == (0, *chips.shape[1:])


def test_threads_read_from_one_handle(tmp_path):
    chips = written(tmp_path / "x.npy", (400, 16, 16))
    stored = open_chips(tmp_path / "x.npy", chips.shape)

    def is_right(seed: int) -> bool:
        index = np.random.default_rng(seed).integers(0, len(chips), 64)
        return np.array_equal(stored[index], chips[index])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(is_right, range(400)))


def test_another_process_opens_the_file_itself(tmp_path):
    chips = written(tmp_path / "x.npy", SHAPES[0])
    sent = pickle.dumps(open_chips(tmp_path / "x.npy", chips.shape).chosen([5, 3]))
    np.testing.assert_array_equal(pickle.loads(sent), chips[[5, 3]])
    (tmp_path / "x.npy").unlink()
    with pytest.raises(UserError, match=r"x\.npy: cannot be opened .* start the command again"):
        pickle.loads(sent)


def test_a_file_that_is_replaced_or_removed_meanwhile_is_still_the_one_that_was_checked(tmp_path):
    path = tmp_path / "x.npy"
    chips = written(path, SHAPES[0])
    stored = open_chips(path, chips.shape)
    written(tmp_path / "other.npy", SHAPES[0], seed=1)
    (tmp_path / "other.npy").replace(path)
    np.testing.assert_array_equal(stored, chips)
    path.unlink()
    np.testing.assert_array_equal(stored, chips)


def test_a_file_that_is_cut_meanwhile_is_one_line_and_not_a_killed_process(tmp_path):
    path = tmp_path / "x.npy"
    chips = written(path, SHAPES[0])
    stored = open_chips(path, chips.shape)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    np.testing.assert_array_equal(stored[0], chips[0])
    with pytest.raises(UserError, match=r"x\.npy: was cut while it was in use; start the command again"):
        stored[:]
    assert open_chips(path, chips.shape) is None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files there")
def test_a_handle_is_closed_with_its_last_chips(tmp_path):
    def held() -> int:
        return sum(link.resolve() == path for link in handles.iterdir())

    handles, path = Path("/proc/self/fd"), tmp_path / "x.npy"
    written(path, SHAPES[0])
    stored = open_chips(path, SHAPES[0])
    some = stored.chosen([1, 2])
    del stored
    assert held() == 1
    del some
    assert held() == 0
