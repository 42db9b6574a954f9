"""Archives of any names, cut anywhere, with any bytes overwritten: the right content or one line of UserError."""

import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarship.archives import open_source
from sarship.command import UserError
from tests.official import below, contents, innermost, rar_bytes, zip_bytes

PLENTY = 1 << 30
FILES = {"a/one.txt": b"one" * 10, "b.txt": b"", "a/two.bin": bytes(range(64))}


def saved(tmp_path, data: bytes):
    path = tmp_path / "archive.zip"
    path.write_bytes(data)
    return path


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def read_or_refusal(path) -> dict[str, bytes] | None:
    """All entries, those of archives inside too; None after a UserError. Any other exception fails the test."""
    try:
        stack = []
        innermost(open_source(path, PLENTY), stack)
        return {f"{source.name}/{name}": data for source in stack for name, data in contents(source).items()}
    except UserError as error:
        assert "\n" not in str(error)
        return None


@quick
@given(names=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=4, unique=True))
def test_names_are_listed_as_they_are_or_refused(tmp_path, names):
    zipped = {zipfile.ZipInfo(name).filename: b"x" for name in names}
    for data in (zip_bytes(zipped), rar_bytes(dict.fromkeys(names, b"x"))):
        try:
            with open_source(saved(tmp_path, data), PLENTY) as source:
                listed = [entry.name for entry in source.entries()]
        except UserError:
            continue
        assert set(listed) <= {name.replace("\\", "/") for name in names}
        for name in listed:
            assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())


@quick
@given(name=st.lists(st.sampled_from(["..", ".", "a", "C:", "/", "\\", ""]), max_size=6).map("".join))
def test_no_listed_name_leads_out_of_the_folder(tmp_path, name):
    for pack in (zip_bytes, rar_bytes):
        try:
            with open_source(saved(tmp_path, pack({name: b"x"})), PLENTY) as source:
                listed = [entry.name for entry in source.entries()]
        except UserError:
            continue
        for entry in listed:
            assert ".." not in entry.split("/") and not entry.startswith(("/", "C:"))


WHOLE = {
    "deflated": zip_bytes({"scene.zip": zip_bytes(FILES), **FILES}),
    "stored": zip_bytes({**FILES, "scene.zip": zip_bytes(FILES, zipfile.ZIP_STORED)}, zipfile.ZIP_STORED),
    "rar": rar_bytes({**below("x", FILES), "scene.rar": rar_bytes(FILES), "scene.zip": zip_bytes(FILES)}),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_every_truncation_is_refused_or_harmless(tmp_path, kind):
    whole = read_or_refusal(saved(tmp_path, WHOLE[kind]))
    assert whole
    for size in range(len(WHOLE[kind])):
        assert read_or_refusal(saved(tmp_path, WHOLE[kind][:size])) in (None, whole)


@pytest.mark.parametrize("kind", WHOLE)
@settings(parent=quick, max_examples=300)
@given(data=st.data())
def test_damaged_bytes_give_the_right_content_or_one_line(tmp_path, kind, data):
    whole = read_or_refusal(saved(tmp_path, WHOLE[kind]))
    damaged = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found = read_or_refusal(saved(tmp_path, bytes(damaged)))
    assert found is None or set(found.values()) <= set(whole.values())
