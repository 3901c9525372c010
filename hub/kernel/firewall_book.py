"""The biometric firewall for workbooks: an XLSX rewritten from the few parts that hold cells, and nothing else.

One concern: an archive in, an archive without pictures, macros, formulas, embedded files and links out. Pure. It must never
unpack more than `UNPACKED_MAX` bytes, keep a part it does not know, or return any removed content: only a keyed hash, a
size and a reason.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from hub.kernel.firewall import Cleaned
from hub.kernel.firewall_names import shown
from hub.kernel.firewall_text import Cut, scan_text
from hub.kernel.ports import BookRefused, Hasher, Removed, Text
from hub.kernel.unzip import TooManyEntries, opened

UNPACKED_MAX = 192 * 1024 * 1024
PARTS_MAX = 1_000
ROWS_MAX = 120_000
"""Highest row a cell may stand in; columns end at ZZ. A reader makes room for the whole rectangle."""
_RATIO_MAX = 300
_RATIO_FROM = 8 * 1024 * 1024
_DATE = (1980, 1, 1, 0, 0, 0)

_SHEET = re.compile(r"xl/worksheets/[^/]+\.xml")
_KEPT = re.compile(
    r"\[Content_Types\]\.xml|_rels/\.rels|xl/workbook\.xml|xl/_rels/workbook\.xml\.rels|xl/sharedStrings\.xml|xl/styles\.xml"
    r"|xl/theme/theme\d{1,3}\.xml|xl/worksheets/[^/]{1,60}\.xml"
)
_HARMLESS = re.compile(r".*\.(?:xml|rels|vml)|.*/")
_DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.I)
_FORMULA = re.compile(rb"<((?:\w+:)?)f(?=[\s>/])[^<>]*?(?:/>|>[^<]*</\1f>)")
_CELL_DATA = re.compile(rb' (?:vm|cm|ph)="\d*"')
_DATA_END = re.compile(rb"</(?:\w+:)?sheetData\s*>|<(?:\w+:)?sheetData\s*/>")
_MERGED = re.compile(rb"<((?:\w+:)?)mergeCells[\s>]")
_ROOT_END = re.compile(rb"</(?:\w+:)?worksheet\s*>\s*\Z")
_PLACE = re.compile(rb'<(?:\w+:)?(?:c|row)\s[^<>]*?\br="([A-Z]*)(\d+)"')
_ELEMENT = re.compile(rb"<(?:\w+:)?(?:Override|Default|Relationship)\b[^<>]*/>")
_ATTRIBUTE = re.compile(rb'(PartName|Extension|Target|TargetMode)="([^"]*)"')
_BOOK = frozenset({"workbookPr", "bookViews", "sheets"})
"""What is kept of the workbook's own description: no names, no links, no connections."""
_BOOK_MAX = 4 * 1024 * 1024

_NOT_XLSX = Text(
    "Tệp không phải sổ tính Excel (.xlsx) đọc được.", "The file is not an Excel workbook (.xlsx) that can be read."
)
_OLD = Text(
    "Tệp .xls kiểu cũ hoặc có mật khẩu không được nhận: hãy lưu thành .xlsx không mật khẩu.",
    "Old .xls files and those with a password are not taken: save as .xlsx without one.",
)
_MACRO = Text(
    "Sổ tính có macro không được nhận: hãy lưu thành .xlsx.", "Workbooks with macros are not taken: save as .xlsx."
)
_BOMB = Text(
    "Sổ tính bung ra quá lớn hoặc có quá nhiều ô; hãy xóa các hàng, cột thừa hoặc chia nhỏ.",
    "The workbook unpacks too large or has too many cells; delete empty rows and columns, or split it.",
)
_XML = Text("Sổ tính có phần XML không được phép.", "The workbook has XML that is not allowed.")


def clean_book(payload: bytes, hasher: Hasher) -> Cleaned:
    """A workbook without anything but cells, their formats and merged ranges. Raises `BookRefused` with the reason.

    `Removed.pointer` names the part, `/xl/media/image1.jpeg`, or the part and an offset in it. Cleaning a cleaned workbook
    changes nothing but the packing.
    """
    if payload.startswith(b"\xd0\xcf\x11\xe0"):
        raise BookRefused("old_or_locked", _OLD)
    try:
        with opened(payload, PARTS_MAX) as archive:
            return _rewrite(archive, hasher)
    except TooManyEntries as error:
        raise BookRefused("too_large_unpacked", _BOMB) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, ValueError, OSError) as error:
        # RuntimeError is what the library says to an encrypted member.
        raise BookRefused("not_a_workbook", _NOT_XLSX) from error


def _rewrite(archive: zipfile.ZipFile, hasher: Hasher) -> Cleaned:
    members = [m for m in archive.infolist() if not m.is_dir()]
    names = [m.filename for m in members]
    if "xl/workbook.xml" not in names or len(set(names)) != len(names):
        raise BookRefused("not_a_workbook", _NOT_XLSX)
    if any(n.lower().endswith(("vbaproject.bin", "vbadata.xml")) or n.startswith("xl/macrosheets/") for n in names):
        raise BookRefused("macros", _MACRO)
    if len(members) > PARTS_MAX or sum(m.file_size for m in members) > UNPACKED_MAX:
        raise BookRefused("too_large_unpacked", _BOMB)
    removed: list[Removed] = []
    parts: dict[str, bytes] = {}
    room = UNPACKED_MAX
    for member in members:
        name = member.filename
        if _KEPT.fullmatch(name) is None and _HARMLESS.fullmatch(name):
            continue
        data = unpacked(archive, member, room)
        room -= len(data)
        if _KEPT.fullmatch(name) is None:
            removed.append(
                Removed(shown(f"/{name}"), hasher(data), len(data), "image" if "media/" in name else "embedded")
            )
            continue
        parts[name] = _part(name, data, hasher, removed)
    kept = set(parts)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as made:
        for name, data in parts.items():
            if name == "[Content_Types].xml" or name.endswith(".rels"):
                data = _ELEMENT.sub(lambda m, n=name: m.group() if _leads_to(n, m.group(), kept) else b"", data)  # type: ignore[misc]
            made.writestr(zipfile.ZipInfo(name, _DATE), data, zipfile.ZIP_DEFLATED)
    return Cleaned(out.getvalue(), removed)


def unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, room: int) -> bytes:
    """A member's bytes, refused when it unpacks to more than it may, whatever it says of itself."""
    if member.file_size > _RATIO_FROM and member.file_size > _RATIO_MAX * max(member.compress_size, 1):
        raise BookRefused("too_large_unpacked", _BOMB)
    with archive.open(member) as stream:
        data = stream.read(room + 1)
    if len(data) > room:
        raise BookRefused("too_large_unpacked", _BOMB)
    return data


def _part(name: str, data: bytes, hasher: Hasher, removed: list[Removed]) -> bytes:
    """One kept part, cleaned."""
    head = data[:4]
    if b"\x00" in head or head[:2] in (b"\xff\xfe", b"\xfe\xff") or _DOCTYPE.search(data):
        # Other encodings would hide what is looked for from here on.
        raise BookRefused("forbidden_xml", _XML)
    if name == "[Content_Types].xml" and b"macroEnabled" in data:
        raise BookRefused("macros", _MACRO)
    data = _without_comments(data)
    if name == "xl/workbook.xml":
        data = _book(data)
    elif _SHEET.fullmatch(name):
        data = _cells(data)
    # Every part: pictures also hide in the styles or in the name of a sheet.
    cuts: list[Cut] = []
    cleaned = scan_text(data, cuts)
    removed += [Removed(f"/{name}@{c.offset}", hasher(c.content), len(c.content), c.reason) for c in cuts]
    return cleaned if cuts else data


def _without_comments(data: bytes) -> bytes:
    """XML without its comments, which hold no cell."""
    pieces: list[bytes] = []
    done = 0
    while (start := data.find(b"<!--", done)) >= 0:
        end = data.find(b"-->", start + 4)
        if end < 0:
            raise BookRefused("not_a_workbook", _NOT_XLSX)
        pieces.append(data[done:start])
        done = end + 3
    return b"".join((*pieces, data[done:])) if done else data


def _book(data: bytes) -> bytes:
    """The workbook's description with its sheets and nothing that leads elsewhere."""
    from lxml import etree  # with the first workbook

    if len(data) > _BOOK_MAX:
        raise BookRefused("too_large_unpacked", _BOMB)
    try:
        root = etree.fromstring(
            data, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        )
    except etree.XMLSyntaxError as error:
        raise BookRefused("not_a_workbook", _NOT_XLSX) from error
    for child in list(root):
        if not isinstance(child.tag, str) or etree.QName(child).localname not in _BOOK:
            root.remove(child)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True))


def _cells(data: bytes) -> bytes:
    """A sheet's cells without formulas, and behind them only the merged ranges."""
    for place in _PLACE.finditer(data):
        if len(place.group(1)) > 2 or len(place.group(2)) > 7 or int(place.group(2)) > ROWS_MAX:
            raise BookRefused("too_large_unpacked", _BOMB)
    found = _DATA_END.search(data)
    root = _ROOT_END.search(data)
    if found is None or root is None:
        raise BookRefused("not_a_workbook", _NOT_XLSX)
    merged, tail = _MERGED.search(data, found.end()), b""
    if merged is not None:
        close = b"</" + merged.group(1) + b"mergeCells>"
        end = data.find(close, merged.end())
        tail = data[merged.start() : end + len(close)] if end >= 0 else b""
    return _CELL_DATA.sub(b"", _FORMULA.sub(b"", data[: found.end()])) + tail + data[root.start() :]


def _leads_to(name: str, element: bytes, kept: set[str]) -> bool:
    """Whether an entry of the content types or of relations speaks of a part that is still there."""
    said = {k.decode(): v.decode("utf-8", "replace") for k, v in _ATTRIBUTE.findall(element)}
    if "Extension" in said:
        return said["Extension"] in ("xml", "rels")
    if "PartName" in said:
        return said["PartName"].lstrip("/") in kept
    if said.get("TargetMode") == "External" or "Target" not in said:
        return False
    target = said["Target"]
    return (target.lstrip("/") if target.startswith("/") or name == "_rels/.rels" else f"xl/{target}") in kept
