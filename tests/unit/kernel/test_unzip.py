"""Archives whose directory alone is an attack are refused before it is read, at every door that takes an archive."""

from __future__ import annotations

import io
import struct
import time
import zipfile

import pytest

from hub.api.archives import files_of
from hub.api.problems import Problem
from hub.kernel.documents import kind_of
from hub.kernel.firewall_book import clean_book
from hub.kernel.ports import BookRefused
from hub.kernel.unzip import ENTRY_BYTES, TooManyEntries, opened

MANY = 40_000


def entry(name: bytes, extra: bytes = b"", comment: bytes = b"") -> bytes:
    sizes = len(name), len(extra), len(comment)
    return (
        b"PK\1\2"
        + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, 0, 0, *sizes, 0, 0, 0, 0)
        + name
        + extra
        + comment
    )


def archive(directory: bytes, claimed: int, *, long: bool = False, before: bytes = b"", comment: bytes = b"") -> bytes:
    """An archive of a directory alone, in the plain form or in ZIP64's; `claimed`: how many entries it says it has."""
    start = b"PK\3\4" + bytes(26)
    size, at = len(directory), len(start)
    end = b""
    if long:
        end += b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, claimed, claimed, size, at)
        end += b"PK\6\7" + struct.pack("<IQI", 0, at + size, 1)
    told = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if long else (claimed, claimed, size, at)
    end += b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, *told, len(comment)) + comment
    return before + start + directory + end


SHAPES = {
    "plain": {},
    "ZIP64": {"long": True},
    "behind something": {"before": b"%PDF-" * 100},
    "ZIP64 behind something": {"long": True, "before": b"%PDF-" * 100},
    "with a comment": {"comment": b"xin ch\xc3\xa0o" * 300},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("claimed", [1, MANY])
def test_a_directory_of_very_many_entries_is_not_read(
    shape: str, claimed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = b"".join(entry(b"%d.xlsx" % n) for n in range(MANY))
    body = archive(directory, claimed, **SHAPES[shape])  # type: ignore[arg-type]
    read: list[int] = []
    original = zipfile.ZipInfo.__init__
    monkeypatch.setattr(zipfile.ZipInfo, "__init__", lambda *a, **k: (read.append(1), original(*a, **k))[1])
    with pytest.raises(TooManyEntries):
        opened(body, 2000)
    with pytest.raises(Problem) as problem:
        list(files_of(body))
    assert (problem.value.status, problem.value.code) == (413, "too_many_files")
    with pytest.raises(BookRefused) as refused:
        clean_book(body, lambda _: "")
    assert refused.value.code == "too_large_unpacked"
    assert kind_of(b"PK\3\4" + body) is None
    assert not read


def test_what_is_read_of_a_directory_at_most_takes_no_time() -> None:
    # As many of the smallest entries as fit, and as much of the extra fields the library picks apart.
    small = b"".join(entry(b"a") for _ in range(300 * ENTRY_BYTES // 47))
    extra = struct.pack("<HH", 0x9999, 0) * 16_000
    for directory in (small, entry(b"a.xlsx", extra)):
        began = time.process_time()
        with pytest.raises(Problem):
            list(files_of(archive(directory, 1)))
        assert time.process_time() - began < 1.0


@pytest.mark.parametrize("shape", SHAPES)
def test_an_honest_archive_opens_as_ever(shape: str) -> None:
    directory = b"".join(entry(b"Danh sach/%d.xlsx" % n) for n in range(300))
    with opened(archive(directory, 300, **SHAPES[shape]), 300) as found:  # type: ignore[arg-type]
        assert len(found.namelist()) == 300


def test_what_an_archive_holds_may_be_larger_than_its_directory() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as made:
        for n in range(100):
            made.writestr(f"Lớp 6A{n}/.DS_Store", b"")
            made.writestr(f"__MACOSX/Lớp 6A{n}/._Danh sách học sinh.xlsx", b"")
            made.writestr(f"Lớp 6A{n}/Danh sách học sinh.xlsx", bytes([n]) * 200_000)
    files = dict(enumerate(files_of(packed.getvalue())))
    assert len(files) == 100 and files[7] == ("Danh sách học sinh.xlsx", b"\7" * 200_000)


@pytest.mark.parametrize(
    "body", [b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"no zip" * 9_000, archive(entry(b"") + entry(b"a.xlsx"), 2)]
)
def test_what_is_no_archive_is_told_as_such(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        list(files_of(body))
    assert problem.value.code in ("not_a_zip", "empty")
