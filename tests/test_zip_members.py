"""Members of a zip by their place: what zipfile reads, or left to zipfile."""

import io
import os
import pickle
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.archives import open_source
from sarship.command import UserError
from sarship.zip_members import read_directory, read_member
from tests.official import zip_bytes

FILES = {"a/speckle.tif": os.urandom(3000), "zeros": bytes(5000), "nothing": b"", "ä.txt": b"text" * 9}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_ordinary_member_takes_the_fast_way(compression):
    file = io.BytesIO(zip_bytes(FILES, compression))
    assert {member.name: read_member(file, member) for member in read_directory(file)} == FILES


@given(data=st.data(), compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
@settings(max_examples=300, deadline=None)
def test_on_damaged_bytes_it_gives_the_right_content_or_leaves_it_to_zipfile(data, compression):
    content = {"one": bytes(range(256)) * 3, "two": b"x" * 100}
    damaged = bytearray(zip_bytes(content, compression))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    file = io.BytesIO(damaged)
    try:
        members = read_directory(file)
    except Exception:  # refused as a whole; tests/test_archives_any_bytes.py sees to what archives.py makes of it
        return
    with zipfile.ZipFile(file) as archive:
        by_offset = {info.header_offset: info for info in archive.infolist()}
        for member in members:
            found = read_member(file, member)
            assert found is None or found == archive.read(by_offset[member.offset])


def test_a_part_is_read_in_another_process_as_here(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_bytes(FILES))
    with open_source(tmp_path / "a.zip", 1 << 30) as source:
        some = source.entries()[1:3]
        part = source.part(some)
    sent = pickle.loads(pickle.dumps(part))
    with sent:
        assert {entry.name: sent.read(entry) for entry in sent.entries()} == {e.name: FILES[e.name] for e in some}
    assert sent.declared == {"a.zip": sum(map(len, FILES.values()))}


def test_what_parts_declare_counts_together(tmp_path):
    inner = zip_bytes({"zeros": bytes(100_000)})
    (tmp_path / "a.zip").write_bytes(zip_bytes({"1.zip": inner, "2.zip": inner}))
    with open_source(tmp_path / "a.zip", 2 * len(inner) + 150_000) as source:
        parts = [source.part([entry]) for entry in source.entries()]
        for part in parts:  # each fits by itself
            with part:
                part.open_nested(part.entries()[0]).close()
        source.declare(parts[0].declared)
        with pytest.raises(UserError, match=r"2.zip: would unpack to .*--max-bytes"):
            source.declare(parts[1].declared)
