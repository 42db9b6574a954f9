"""What archives may do to us: every refusal is one line of UserError, and no bytes come out wrong."""

import io
import os
import shutil
import subprocess
import tracemalloc
import zipfile

import pytest
import rarfile

from sarship.archives import MAX_LEVELS, is_archive, open_source
from sarship.command import UserError
from tests.official import contents, innermost, patched, rar_bytes, write_files, zip_bytes, zip_with_link

PLENTY = 1 << 30
FILES = {"a/one.txt": b"one" * 100, "b.txt": b"", "a/two.bin": bytes(range(256))}

needs_extractor = pytest.mark.skipif(
    not any(shutil.which(tool) for tool in ("unrar", "unar", "7z", "7zz", "bsdtar")),
    reason="no rar extractor on this machine (apt-get install unar)",
)


def saved(tmp_path, data: bytes, name: str = "archive.zip"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def refusal(path, max_bytes: int = PLENTY) -> str:
    """The line with which the archive is refused before any entry is shown."""
    with pytest.raises(UserError) as caught:
        open_source(path, max_bytes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is read


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_read_whole_and_sorted(tmp_path, compression):
    with open_source(saved(tmp_path, zip_bytes(FILES, compression)), PLENTY) as source:
        assert [entry.name for entry in source.entries()] == sorted(FILES)
        assert [entry.size for entry in source.entries()] == [len(FILES[name]) for name in sorted(FILES)]
        assert contents(source) == FILES
        assert source.name == "archive.zip"


def test_rar_is_read_by_its_bytes_even_if_named_zip(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # stored entries need no extractor
    with open_source(saved(tmp_path, rar_bytes(FILES), "named.zip"), PLENTY) as source:
        assert contents(source) == FILES


def test_folder_zip_and_rar_of_the_same_files_have_the_same_fingerprint(tmp_path):
    paths = [
        write_files(tmp_path / "folder", FILES),
        saved(tmp_path, zip_bytes(FILES)),
        saved(tmp_path, rar_bytes(FILES), "archive.rar"),
        saved(tmp_path, zip_bytes(FILES | {"b.txt": b"!"}), "other.zip"),
    ]
    prints = []
    for path in paths:
        with open_source(path, PLENTY) as source:
            prints.append(source.fingerprint())
    assert prints[0] == prints[1] == prints[2] != prints[3]


def test_what_systems_leave_behind_is_not_listed(tmp_path):
    litter = {"__MACOSX/a/._one.txt": b"x", "a/.DS_Store": b"x", "a/._one.txt": b"x", "Thumbs.db": b"x"}
    with open_source(saved(tmp_path, zip_bytes(FILES | litter)), PLENTY) as source:
        assert [entry.name for entry in source.entries()] == sorted(FILES)
    with open_source(write_files(tmp_path / "folder", FILES | litter), PLENTY) as source:
        assert contents(source) == FILES


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("inner", [zip_bytes(FILES), rar_bytes(FILES)], ids=["zip", "rar"])
def test_nested_archives_are_read_in_place(tmp_path, compression, inner):
    path = saved(tmp_path, zip_bytes({"x.txt": b"x", "in/scene.zip": inner, "z.txt": b"z"}, compression))
    with open_source(path, PLENTY) as source:
        nested_entry = source.entries()[0]
        with source.open_nested(nested_entry) as nested:
            assert nested.name == "archive.zip/in/scene.zip"
            assert contents(nested) == FILES
        assert source.read(source.entries()[1]) == b"x"  # the outer archive is still there
    assert [path.name for path in tmp_path.iterdir()] == ["archive.zip"]


def test_a_stored_archive_inside_takes_no_memory(tmp_path):
    inner = zip_bytes({"large.bin": os.urandom(1 << 24), "small.txt": b"small"}, zipfile.ZIP_STORED)
    path = saved(tmp_path, zip_bytes({"scene.zip": inner}, zipfile.ZIP_STORED))
    tracemalloc.start()
    with open_source(path, PLENTY) as source, source.open_nested(source.entries()[0]) as nested:
        assert nested.read(nested.entries()[1]) == b"small"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_which_names_are_archives():
    assert all(map(is_archive, ["a.zip", "b/c.RAR", "scene.zip (1)", "scene(1).zip"]))
    assert not any(map(is_archive, ["a.tif", "zip", "a.zip.xml", "rar/"]))


# -- what is refused before any entry is shown


def test_a_missing_path_is_named(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "absent.zip")


@pytest.mark.parametrize("data", [b"", b"PK", b"GIF89a", b"7z\xbc\xaf\x27\x1c"])
def test_what_is_no_archive_is_said(tmp_path, data):
    assert refusal(saved(tmp_path, data)).startswith("archive.zip: is neither a zip nor a rar archive")


CLIMBING = ["../x", "a/../../x", "/x", "C:/x", "c:x", "..\\x", "a\\..\\x", "\\x", "..", "a/..", "\\\\host\\x", "../"]


@pytest.mark.parametrize("name", CLIMBING)
@pytest.mark.parametrize("pack", [zip_bytes, rar_bytes])
def test_an_entry_that_climbs_out_is_refused(tmp_path, name, pack):
    line = refusal(saved(tmp_path, pack({"good.txt": b"x", name: b""})))
    assert "climbs out of its folder" in line and "archive.zip" in line


def test_a_link_in_a_zip_is_refused(tmp_path):
    assert "up: is a link" in refusal(saved(tmp_path, zip_with_link("up", "..")))


@pytest.mark.parametrize("target", ["..", "good.txt"])
def test_a_link_in_a_folder_is_refused(tmp_path, target):
    folder = write_files(tmp_path / "folder", {"sub/good.txt": b"x"})
    (folder / "sub" / "link").symlink_to(target)
    assert "folder: sub/link: is a link" in refusal(folder)


def test_a_pipe_in_a_folder_is_refused(tmp_path):
    folder = write_files(tmp_path / "folder", FILES)
    os.mkfifo(folder / "pipe")
    assert "pipe: is neither a file nor a folder" in refusal(folder)


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    folder = write_files(tmp_path / "folder", FILES)

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", denied)
    assert refusal(folder) == "folder: cannot be read (Permission denied)"


def test_an_encrypted_zip_is_refused(tmp_path):
    data = zip_bytes({"secret.txt": b"x"})
    data = patched(data, data.index(b"PK\x01\x02") + 8, "<H", 1)
    assert "secret.txt: is encrypted" in refusal(saved(tmp_path, data))


@pytest.mark.parametrize("how", ["encrypted", "encrypted_names"])
def test_an_encrypted_rar_is_refused(tmp_path, how):
    assert "archive.rar: is encrypted" in refusal(saved(tmp_path, rar_bytes(FILES, **{how: True}), "archive.rar"))


def test_an_unknown_compression_is_refused(tmp_path):
    line = refusal(saved(tmp_path, zip_bytes({"x.txt": b"x"}, zipfile.ZIP_BZIP2)))
    assert "x.txt: has compression method 12" in line


def test_a_name_that_stands_twice_is_refused(tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("x.txt", b"1")
        archive.writestr("x.txt", b"2")
    assert "x.txt: stands there twice" in refusal(saved(tmp_path, file.getvalue()))
    assert "a/x: stands there twice" in refusal(saved(tmp_path, zip_bytes({"a/x": b"1", "a\\x": b"2"})))


@pytest.mark.parametrize("pack", [zip_bytes, rar_bytes])
def test_more_than_max_bytes_is_refused(tmp_path, pack):
    path = saved(tmp_path, pack({"zeros": bytes(1 << 20)}))
    assert "would unpack to 1,048,576 bytes" in refusal(path, max_bytes=(1 << 20) - 1)
    open_source(path, max_bytes=1 << 20).close()


def test_entries_that_share_bytes_are_refused(tmp_path):
    data = zip_bytes({"one.txt": b"x" * 50, "two.txt": b"x" * 50}, zipfile.ZIP_STORED)
    second = data.rindex(b"PK\x01\x02")
    line = refusal(saved(tmp_path, patched(data, second + 42, "<L", 0)))
    assert "shares bytes with its neighbour" in line


def test_a_truncated_zip_does_not_pass_for_the_zip_inside_it(tmp_path):
    inner = zip_bytes(FILES)
    outer = zip_bytes({"scene.zip": inner, "last.txt": b"x"}, zipfile.ZIP_STORED)
    cut = outer[: outer.index(inner) + len(inner)]
    assert zipfile.ZipFile(io.BytesIO(cut)).namelist() == list(FILES)  # what the library makes of it
    assert "is truncated or damaged" in refusal(saved(tmp_path, cut))


def test_a_rar_cut_between_two_entries_is_refused(tmp_path):
    line = refusal(saved(tmp_path, rar_bytes(FILES, end=False), "archive.rar"))
    assert "archive.rar: is truncated or damaged" in line


def test_one_volume_of_a_rar_is_refused_and_the_next_left_alone(tmp_path):
    saved(tmp_path, rar_bytes({"other.txt": b"x"}), "archive.r00")
    line = refusal(saved(tmp_path, rar_bytes(FILES, next_volume=True), "archive.rar"))
    assert "is truncated or damaged (Cannot open next volume" in line


def test_rar_without_an_extractor_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    line = refusal(saved(tmp_path, rar_bytes(FILES, method=3), "archive.rar"))
    assert line.startswith("archive.rar: no extractor for rar here; install unar (apt-get install unar)")


# -- what is refused when it is read


def read_refusal(path) -> str:
    with open_source(path, PLENTY) as source, pytest.raises(UserError) as caught:
        contents(source)
    return str(caught.value)


@pytest.mark.parametrize("pack", [lambda files: zip_bytes(files, zipfile.ZIP_STORED), rar_bytes], ids=["zip", "rar"])
def test_a_wrong_checksum_is_refused(tmp_path, pack):
    data = pack({"x.txt": b"content"}).replace(b"content", b"CONTENT")
    assert "archive.zip: x.txt: is truncated or damaged" in read_refusal(saved(tmp_path, data))


@pytest.mark.parametrize("declared", [10, 5000])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_header_that_lies_about_the_size_is_refused(tmp_path, declared, compression):
    data = zip_bytes({"x.txt": b"x" * 1000}, compression)
    data = patched(data, data.index(b"PK\x01\x02") + 24, "<L", declared)
    assert "x.txt: is truncated or damaged" in read_refusal(saved(tmp_path, data))


def test_a_rar_header_that_lies_about_the_size_is_refused(tmp_path):
    for declared in (1, 5000):
        path = saved(tmp_path, rar_bytes({"x.txt": b"x" * 1000}, declared_bytes=declared), "archive.rar")
        assert "x.txt: is truncated or damaged" in read_refusal(path)


def test_a_bomb_that_declares_little_fills_no_memory(tmp_path):
    data = zip_bytes({"bomb": bytes(1 << 26)})
    path = saved(tmp_path, patched(data, data.index(b"PK\x01\x02") + 24, "<L", 100))
    tracemalloc.start()
    assert "bomb: is truncated or damaged" in read_refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("pack", [zip_bytes, rar_bytes])
def test_an_entry_that_is_too_large_for_the_memory_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr("sarship.archives.MAX_ENTRY_BYTES", 100)
    with open_source(saved(tmp_path, pack({"a.zip": bytes(100), "b.zip": bytes(101)})), PLENTY) as source:
        first, second = source.entries()
        assert source.read(first) == bytes(100)
        for take in (source.read, source.open_nested):
            with pytest.raises(UserError, match=r"^archive.zip: b.zip: has 101 bytes, too many"):
                take(second)


# -- archives inside archives


def nested_zip(levels: int) -> bytes:
    data = zip_bytes(FILES)
    for _ in range(levels - 1):
        data = zip_bytes({"in.zip": data})
    return data


def test_nesting_ends_at_the_limit(tmp_path):
    stack = []
    innermost(open_source(saved(tmp_path, nested_zip(MAX_LEVELS)), PLENTY), stack)
    assert len(stack) == MAX_LEVELS and contents(stack[-1]) == FILES
    with pytest.raises(UserError, match=r"in.zip: lies deeper than 3 archives"):
        innermost(open_source(saved(tmp_path, nested_zip(MAX_LEVELS + 1)), PLENTY), [])


def test_all_levels_share_one_budget(tmp_path):
    inner = zip_bytes({"zeros": bytes(100_000)})
    outer = {"a.zip": inner, "b.zip": inner}
    path = saved(tmp_path, zip_bytes(outer))
    needed = 2 * len(inner) + 2 * 100_000

    def open_all(max_bytes: int) -> None:
        with open_source(path, max_bytes) as source:
            for entry in source.entries() * 2:  # again: an archive that is opened twice counts once
                source.open_nested(entry).close()

    open_all(needed)
    with pytest.raises(UserError, match=r"archive.zip/b.zip: would unpack to"):
        open_all(needed - 1)


def test_a_bad_archive_inside_is_named_with_the_outer_one(tmp_path):
    folder = write_files(tmp_path / "raw", {"outer.zip": zip_bytes({"in.rar": zip_bytes({"../x": b""})})})
    with pytest.raises(UserError, match=r"^raw/outer.zip/in.rar: ../x: climbs out"):
        innermost(open_source(folder, PLENTY), [])


# -- real RAR archives


@needs_extractor
@pytest.mark.parametrize("name", ["rar3-solid.rar", "rar5-crc.rar"])
def test_real_compressed_rar(real_data, name):
    with open_source(real_data / "rar" / name, PLENTY) as source:
        found = contents(source)
    assert set(found) == {"stest1.txt", "stest2.txt"}
    assert all(len(data) == 2048 for data in found.values())


@pytest.mark.parametrize("name", ["rar3-subdirs.rar", "rar5-subdirs.rar"])
def test_real_stored_rar_needs_no_extractor(real_data, name, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with open_source(real_data / "rar" / name, PLENTY) as source:
        found = contents(source)
    assert {name: len(data) for name, data in found.items()} == {
        "sub/dir1/file1.txt": 6,
        "sub/dir2/file2.txt": 6,
        "sub/with space/long fn.txt": 8,
        "sub/üȵĩöḋè/file.txt": 5,
    }


@pytest.mark.parametrize(
    "name, entry",
    [("rar3-symlink-unix", "data_link"), ("rar5-evil-symlink-traversal", "up"), ("rar5-hlink", "stest2.txt")],
)
def test_real_rar_with_a_link_is_refused(real_data, name, entry):
    assert refusal(real_data / "rar" / f"{name}.rar").startswith(f"{name}.rar: {entry}: is a link")


@pytest.mark.parametrize("name", ["rar3-solid.rar", "rar3-subdirs.rar", "rar5-subdirs.rar"])
def test_every_truncation_of_a_real_rar_is_refused(real_data, tmp_path, name):
    data = (real_data / "rar" / name).read_bytes()
    for size in range(len(data)):
        assert name in refusal(saved(tmp_path, data[:size], name))


def test_real_compressed_rar_without_an_extractor(real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install unar" in refusal(real_data / "rar" / "rar5-crc.rar")


@needs_extractor
def test_an_extractor_that_fails_gives_one_line(real_data, monkeypatch, tmp_path):
    (tmp_path / "unrar").write_text("#!/bin/sh\n[ \"$2\" = '-?' ]\n")  # answers the check, unpacks nothing
    (tmp_path / "unrar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert subprocess.run(["unrar", "-inul", "-?"], check=False).returncode == 0
    assert "stest1.txt: is truncated or damaged" in read_refusal(real_data / "rar" / "rar5-crc.rar")
    monkeypatch.undo()
    rarfile.tool_setup(force=True)
