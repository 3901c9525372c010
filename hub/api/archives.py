"""Several workbooks of one type in one ZIP archive: each taken like a file of its own, together one full list where that is said.

One concern: what an archive holds, safely. It must never unpack more than one file may have, open an archive within an archive, or
let a name in it lead anywhere.

What a kill leaves: the files taken so far, each with its receipt; the archive sent again under its key goes on behind them.
"""

from __future__ import annotations

import asyncio
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
from fastapi import Request
from fastapi.responses import Response

from hub.api import workbooks
from hub.api.auth import Client
from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.reading import whole_body
from hub.api.rosters import FullList
from hub.kernel.access import Scope
from hub.kernel.failpoints import reach
from hub.kernel.intake import Source
from hub.kernel.ports import BookRefused, Text
from hub.kernel.unzip import TooManyEntries, opened

ZIP = "application/zip"
FILES_MAX = 100
_ENTRIES_MAX = 3 * FILES_MAX
"""With folders, and what some systems put beside every file."""
UNPACKED_MAX = 64 * 1024 * 1024
"""Of all files of an archive together; each may have what a file sent by itself may."""

_CLEAN = re.compile(r"[^\w .,()+-]", re.UNICODE)
_PASSED_OVER = re.compile(r"(^|/)(\.[^./]|__MACOSX/|Thumbs\.db$|desktop\.ini$)")
_NOT_ZIP = Text(
    "Tệp không phải ZIP đọc được, hoặc có mật khẩu.", "The file is no ZIP that can be read, or has a password."
)
_MANY = Text(f"ZIP có hơn {FILES_MAX} tệp.", f"The ZIP holds more than {FILES_MAX} files.")
_LARGE = Text("ZIP bung ra quá lớn.", "The ZIP unpacks too large.")
_NONE = Text("ZIP không có sổ tính nào.", "The ZIP holds no workbook.")
_KIND = Text("Chỉ nhận .xlsx hoặc .csv trong ZIP.", "Only .xlsx and .csv are taken from a ZIP.")
_ALL_REFUSED = Text("Không tệp nào trong ZIP nhận được; xem từng tệp.", "No file of the ZIP could be taken; see each.")


class Part(msgspec.Struct, kw_only=True):
    """What became of one file of an archive: either `taken` or `problem`."""

    name: str
    taken: workbooks.Taken | None = None
    problem: Problem | None = None


def files_of(body: bytes) -> Iterator[tuple[str, bytes | Problem]]:
    """(name without folders, content) of each file; a problem in place of the content of one that cannot be taken.

    Raises a `Problem` for an archive that cannot be read or holds too much.
    """
    from hub.kernel.firewall_book import unpacked

    room = UNPACKED_MAX
    try:
        with opened(body, _ENTRIES_MAX) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _PASSED_OVER.search(m.filename)]
            if len(members) > FILES_MAX:
                raise Problem(413, "too_many_files", _MANY)
            if sum(m.file_size for m in members) > UNPACKED_MAX:
                raise Problem(413, "too_large_unpacked", _LARGE)
            if not members:
                raise Problem(422, "empty", _NONE)
            for member in members:
                name = _CLEAN.sub(" ", member.filename.replace("\\", "/").rpartition("/")[2])[:200] or "?"
                if not name.lower().endswith((".xlsx", ".csv")):
                    yield name, Problem(415, "not_a_workbook", _KIND)
                    continue
                data = unpacked(archive, member, min(room, workbooks.FILE_MAX))
                room -= len(data)
                yield name, data
    except TooManyEntries as error:
        raise Problem(413, "too_many_files", _MANY) from error
    except BookRefused as error:
        raise Problem(413, error.code, _LARGE) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError, OSError) as error:
        # RuntimeError is what the library says to an encrypted member.
        raise Problem(422, "not_a_zip", _NOT_ZIP) from error


async def take(
    hub: Hub, record_type: str, source: Source, scope: Scope, body: bytes, *, key: str | None = None, school: str | None = None,
    school_year: str | None = None, full: FullList | None = None,
) -> list[Part]:  # fmt: skip
    """Take every file, one after the other. Raises a `Problem` for the archive as a whole, before anything is stored."""
    files = await asyncio.to_thread(lambda: list(files_of(body)))
    parts: list[Part] = []
    for place, (name, content) in enumerate(files):
        if isinstance(content, Problem):
            parts.append(Part(name=name, problem=content))
            continue
        try:
            taken = await workbooks.take(
                hub, record_type, source, scope, content, csv=name.lower().endswith(".csv"),
                key=f"{key}#{place}" if key else None, school=school, school_year=school_year, full=full,
            )  # fmt: skip
        except Problem as refused:
            parts.append(Part(name=name, problem=refused))
        else:
            parts.append(Part(name=name, taken=taken))
    return parts


def refused(parts: list[Part]) -> int:
    """Rows refused, and files."""
    return sum(1 if p.taken is None else len(p.taken.rejects) for p in parts)


async def push(request: Request, record_type: str, client: Client, key: str | None, full: FullList | None) -> Response:
    """The push of an archive: `{files: [{name, …as for a file} | {name, code, vi, en}], records, rejected}`."""
    hub: Hub = request.app.state.hub
    body = await whole_body(request, workbooks.FILE_MAX)
    query = request.query_params
    parts = await take(
        hub, record_type, client.source, client.scope, body, key=key, school=query.get("school"),
        school_year=query.get("school_year"), full=full,
    )  # fmt: skip
    files = [_told(p) for p in parts]
    if all(p.taken is None for p in parts):
        raise Problem(422, "nothing_taken", _ALL_REFUSED, files=files)
    told: dict[str, Any] = {
        "files": files,
        "records": sum(f.get("records", 0) for f in files),
        "rejected": sum(f.get("rejected", 0) for f in files),
    }
    if full is not None:
        told["full_list"] = await full.told(client.id, refused(parts))
    reach("ack.before")
    return Response(orjson.dumps(told), 202, getattr(request.state, "rate", {}), media_type="application/json")


def _told(part: Part) -> dict[str, Any]:
    if part.taken is not None:
        return {"name": part.name, **workbooks.told(part.taken)}
    assert part.problem is not None
    return {"name": part.name, "code": part.problem.code, "vi": part.problem.detail.vi, "en": part.problem.detail.en}
