"""Tar archives: what is in them or one line of UserError; a compressed one leaves nothing behind."""

import bz2
import gzip
import io
import itertools
import lzma
import os
import pickle
import tarfile
import tracemalloc

import pytest

from sarship import tar_members
from sarship.archives import Source, open_source
from sarship.command import UserError
from sarship.pool import Pool
from tests.official import contents, write_files, zip_bytes
from tests.tars import COMPRESSIONS, tar_bytes
from tests.test_archives import PLENTY, refusal

FILES = {"a/one.txt": b"one" * 300, "b.txt": b"", "a/two.bin": bytes(range(256)) * 4, "c/d/" + "ä" * 90: b"long"}


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory, monkeypatch):
    """Where temporary files go: an empty folder."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def saved(tmp_path, data: bytes, name: str = "archive.tar"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


# -- what is read


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_tar_is_read_whole_and_sorted(tmp_path, temporary, compression, kind):
    with open_source(saved(tmp_path, tar_bytes(FILES, compression, kind), "named.zip"), PLENTY) as source:
        assert [entry.name for entry in source.entries()] == sorted(FILES)
        assert contents(source) == FILES
        assert len(list(temporary.iterdir())) == (compression != "")
    assert not list(temporary.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["named.zip"]


def test_every_form_of_the_same_files_has_the_same_fingerprint(tmp_path):
    paths = [write_files(tmp_path / "folder", FILES), saved(tmp_path, zip_bytes(FILES), "a.zip")]
    paths += [saved(tmp_path, tar_bytes(FILES, compression), f"a.{compression}") for compression in COMPRESSIONS]
    paths.append(saved(tmp_path, tar_bytes(FILES | {"b.txt": b"!"}), "other.tar"))
    prints = []
    for path in paths:
        with open_source(path, PLENTY) as source:
            prints.append(source.fingerprint())
    assert len(set(prints[:-1])) == 1 and prints[-1] != prints[0]


def test_an_old_tar_without_a_magic_word_is_read(tmp_path):
    header = bytearray(tarfile.TarInfo("x.txt").tobuf(tarfile.USTAR_FORMAT))
    header[124:135] = b"%011o" % 3
    header[257:345] = bytes(88)  # all that ustar has added
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data = bytes(header) + b"abc".ljust(512, b"\0") + bytes(1024)
    with open_source(saved(tmp_path, data), PLENTY) as source:
        assert contents(source) == {"x.txt": b"abc"}


def test_names_that_begin_with_the_folder_itself(tmp_path):
    with open_source(saved(tmp_path, tar_bytes({"./": b"", "./a/": b"", "./a/x.txt": b"x"})), PLENTY) as source:
        assert contents(source) == {"a/x.txt": b"x"} and source.folders() == ["a"]


def test_what_systems_leave_behind_is_not_listed(tmp_path):
    litter = {"a/._one.txt": b"x", "a/.DS_Store": b"x", "__MACOSX/": b"", "__MACOSX/x": b"x"}
    with open_source(saved(tmp_path, tar_bytes(FILES | litter)), PLENTY) as source:
        assert contents(source) == FILES and source.folders() == ["a", "c", "c/d"]


@pytest.mark.parametrize("form", ["folder", "zip", *COMPRESSIONS])
def test_empty_folders_are_listed(tmp_path, form):
    files = {"top/full/x.txt": b"x", "top/empty/": b""}
    if form == "folder":
        path = write_files(tmp_path / "folder", {"top/full/x.txt": b"x"})
        (path / "top" / "empty").mkdir()
    else:
        path = saved(tmp_path, zip_bytes(files) if form == "zip" else tar_bytes(files, form))
    with open_source(path, PLENTY) as source:
        assert source.folders() == ["top", "top/empty", "top/full"]
        assert source.part(source.entries()).folders() == ["top", "top/full"]


def test_a_tar_that_holds_nothing(tmp_path):
    with open_source(saved(tmp_path, tar_bytes({}, "gz")), PLENTY) as source:
        assert source.entries() == []


def test_an_archive_inside_a_tar_is_read_in_place(tmp_path):
    with open_source(saved(tmp_path, tar_bytes({"in.zip": zip_bytes(FILES)}, "gz")), PLENTY) as source:
        with source.open_nested(source.entries()[0]) as nested:
            assert nested.name == "archive.tar/in.zip" and contents(nested) == FILES
        assert source.read(source.entries()[0]) == zip_bytes(FILES)


def test_several_xz_streams_with_zeros_between(tmp_path):
    data = tar_bytes(FILES)
    packed = lzma.compress(data[:700]) + bytes(8) + lzma.compress(data[700:]) + bytes(4)
    with open_source(saved(tmp_path, packed), PLENTY) as source:
        assert contents(source) == FILES


# -- parts in other processes


def read_part(part: Source) -> dict[str, bytes]:
    with part:
        return contents(part)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("workers", [1, 2])
def test_parts_are_read_in_other_processes_and_unpack_nothing(tmp_path, temporary, compression, workers):
    with open_source(saved(tmp_path, tar_bytes(FILES, compression)), PLENTY) as source:
        before = list(temporary.iterdir())
        with Pool(read_part, workers) as pool:
            tasks = ((entry.name, source.part([entry])) for entry in source.entries())
            found = dict(pool.map(tasks))
        assert found == {name: {name: data} for name, data in FILES.items()}
        assert list(temporary.iterdir()) == before
        assert contents(source) == FILES  # no part has taken the file away
    assert not list(temporary.iterdir())


def test_a_part_of_a_source_that_is_closed_is_one_line(tmp_path):
    with open_source(saved(tmp_path, tar_bytes(FILES, "gz")), PLENTY) as source:
        part = pickle.loads(pickle.dumps(source.part(source.entries())))
    with pytest.raises(UserError, match=r"^archive.tar: a/one.txt: cannot be read"):
        contents(part)


# -- what is refused


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("up")
        info.type, info.linkname = kind, ".."
        archive.addfile(info)
    assert refusal(saved(tmp_path, file.getvalue())).startswith("archive.tar: up: is a link or a device")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "C:/x", "..\\x", "..", "../", "/x/"])
@pytest.mark.parametrize("compression", ["", "gz"])
def test_an_entry_that_climbs_out_is_refused(tmp_path, temporary, name, compression):
    line = refusal(saved(tmp_path, tar_bytes({"good.txt": b"x", name: b""}, compression)))
    assert "climbs out of its folder" in line and line.startswith("archive.tar: ")
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("second", ["a/x.txt", "./a/x.txt", "a\\x.txt"])
def test_a_name_that_stands_twice_is_refused(tmp_path, second):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("a/x.txt", second):
            archive.addfile(tarfile.TarInfo(name))
    assert "a/x.txt: stands there twice" in refusal(saved(tmp_path, file.getvalue()))


def test_a_name_that_is_none_is_refused(tmp_path):
    assert "is no proper file name" in refusal(saved(tmp_path, tar_bytes({"a\nb": b"x"})))
    header = tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT)
    latin = bytearray(header)
    latin[0] = 0xE4  # "ä" in Latin-1, which is no UTF-8
    latin[148:156] = b" " * 8
    latin[148:156] = b"%06o\0 " % sum(latin)
    assert "is no proper file name" in refusal(saved(tmp_path, bytes(latin) + bytes(1024)))


def test_more_than_max_bytes_is_refused(tmp_path):
    path = saved(tmp_path, tar_bytes({"zeros": bytes(1 << 20)}))
    assert "would unpack to 1,048,576 bytes" in refusal(path, max_bytes=(1 << 20) - 1)
    open_source(path, max_bytes=1 << 20).close()


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_bomb_stops_while_it_is_unpacked(tmp_path, temporary, compression):
    path = saved(tmp_path, tar_bytes({"bomb": bytes(1 << 26)}, compression))
    tracemalloc.start()
    assert "would unpack to more than 10,000,000 bytes; if you trust it, raise --max-bytes" in refusal(path, 10_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24  # 8 MiB of them are what xz looks back on
    assert not list(temporary.iterdir())


def test_a_bomb_without_an_end_stops_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_members, "_unpacked_blocks", lambda file: itertools.repeat(bytes(1 << 20)))
    assert "would unpack to more than" in refusal(saved(tmp_path, tar_bytes(FILES, "gz")), 1 << 24)


def test_xz_that_asks_for_much_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_members, "_XZ_MEMORY_BYTES", 1 << 16)
    assert "Memory usage limit" in refusal(saved(tmp_path, tar_bytes(FILES, "xz")))


@pytest.mark.parametrize(
    ("compress", "text"),
    [("gz", b"text" * 500), ("gz", b"x"), ("bz2", b"text" * 500)],
    ids=["gz", "gz of a byte", "bz2"],
)
def test_what_is_compressed_and_no_tar_is_said(tmp_path, temporary, compress, text):
    data = {"gz": gzip.compress, "bz2": bz2.compress}[compress](text)
    assert "what is compressed in it is no tar" in refusal(saved(tmp_path, data))
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("data", [bytes(2048), b"BZ", b"\x1f"])
def test_what_is_no_archive_is_said(tmp_path, data):
    assert refusal(saved(tmp_path, data)) == "archive.tar: is neither a zip nor a rar archive, nor a tar; get it again"


def test_a_tar_inside_another_archive_is_left_alone(tmp_path):
    path = saved(tmp_path, zip_bytes({"in.zip": tar_bytes(FILES)}))
    with open_source(path, PLENTY) as source, pytest.raises(UserError, match="nor a tar"):
        source.open_nested(source.entries()[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error"), MemoryError()])
def test_nothing_is_left_after_an_error(tmp_path, temporary, monkeypatch, error):
    def blocks(file):
        yield tar_bytes(FILES)
        raise error

    monkeypatch.setattr(tar_members, "_unpacked_blocks", blocks)
    path = saved(tmp_path, tar_bytes(FILES, "gz"))
    with pytest.raises((UserError, KeyboardInterrupt)):
        open_source(path, PLENTY)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("compression", ["gz", "bz2", "xz"])
def test_a_disk_that_fails_is_no_damage(temporary, compression):
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell():
                raise OSError(5, "Input/output error")
            return super().read(min(size, 100))

    with pytest.raises(OSError, match="Input/output error"):
        tar_members.unpack(Failing(tar_bytes(FILES, compression)), "a.tar", PLENTY)
    assert not list(temporary.iterdir())


def test_a_full_disk_is_said(tmp_path, temporary, monkeypatch):
    def blocks(file):
        raise OSError(28, os.strerror(28))
        yield

    monkeypatch.setattr(tar_members, "_unpacked_blocks", blocks)
    line = refusal(saved(tmp_path, tar_bytes(FILES, "gz")))
    assert line.startswith(f"{temporary}: has no room") and "TMPDIR" in line
