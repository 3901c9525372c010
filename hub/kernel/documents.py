"""Which bytes are a document the hub may keep: by what they are, never by what they are called. Pure.

One concern: PDF, signed XML, and office documents without macros. It must never let a picture through: those are what the
biometric firewall is for, and a document made only to carry one past it is refused.
"""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from hub.kernel.ports import Text
from hub.kernel.unzip import TooManyEntries, opened

PDF = "application/pdf"
XML = "application/xml"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
KINDS = (PDF, XML, DOCX, XLSX)
"""Content types there can be."""

_PICTURES = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|heic|emf|wmf|bin|vbaproject.*)$", re.I)
_MAIN = {"word/document.xml": DOCX, "xl/workbook.xml": XLSX}
_ENTRIES_MAX, _UNPACKED_MAX, _RATIO_MAX = 2000, 200_000_000, 200

REFUSED = Text(
    "Chỉ nhận tài liệu PDF, XML, DOCX, XLSX; không nhận ảnh, tệp nén khác, tệp có macro hoặc chỉ để chứa ảnh.",
    "Only PDF, XML, DOCX and XLSX documents are taken: no pictures, other archives, macros, or files that only carry pictures.",
)


def kind_of(body: bytes) -> str | None:
    """The content type of a document that may be kept, None for anything else. Raises nothing for any bytes whatever."""
    if body[:5] == b"%PDF-":
        # A header alone could stand before anything.
        whole = b"%%EOF" in body[-2048:] and b"startxref" in body[-2048:] and b"/Root" in body
        return PDF if whole else None
    if body[:4] == b"PK\x03\x04":
        return _office(body)
    start = body[:400].lstrip(b"\xef\xbb\xbf \t\r\n")
    if (
        start[:1] == b"<"
        and b"\x00" not in body
        and not start[:9].lower().startswith((b"<!doctype", b"<html", b"<svg"))
    ):
        # Entities and document types are nobody's signed content, and some readers follow them.
        return None if b"<!DOCTYPE" in body or b"<!ENTITY" in body else XML
    return None


def _office(body: bytes) -> str | None:
    try:
        with opened(body, _ENTRIES_MAX) as found:
            entries = found.infolist()
    except (TooManyEntries, zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
        return None
    names = {e.filename for e in entries}
    if len(entries) > _ENTRIES_MAX or len(names) != len(entries) or "[Content_Types].xml" not in names:
        return None
    if sum(e.file_size for e in entries) > min(_UNPACKED_MAX, len(body) * _RATIO_MAX):
        return None
    if any(
        _PICTURES.search(name) or name.startswith(("/", "../")) or e.flag_bits & 1
        for name, e in ((e.filename, e) for e in entries)
    ):
        return None
    return next((kind for main, kind in _MAIN.items() if main in names), None)


def documents_of(body: Mapping[str, Any]) -> list[UUID]:
    """The documents kept by the hub that a filing names."""
    return [UUID(a["file"]) for _, a in _papers(body) if a.get("file")]


def elsewhere_of(body: Mapping[str, Any]) -> dict[str, str]:
    """The documents a filing names by an address elsewhere, nothing of which the hub has seen: the address by the document's
    place (`attachments/0`)."""
    return {place: a["url"] for place, a in _papers(body) if a.get("url") and not a.get("file")}


def _papers(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(f"{member}/{n}", a) for member in ("attachments", "results") for n, a in enumerate(body.get(member) or ())]
