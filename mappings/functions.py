"""Named functions and formats field maps may use where a plain rule is not enough.

One concern: pure conversions of one value. They must never read a file, a clock or a socket, and never raise for any
canonical record: a value they cannot convert becomes None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any

from mappings.catalogue import Catalogue

_LOCAL = timezone(timedelta(hours=7))


class Context:
    """What a field map knows beside the record: the day it speaks of, the delivery's facts, the code tables."""

    __slots__ = ("catalogue", "meta", "on", "period")

    def __init__(self, catalogue: Catalogue, meta: Mapping[str, Any], on: date) -> None:
        self.catalogue = catalogue
        self.meta = meta
        self.on = on
        self.period = catalogue.period(on)


Function = Callable[[Any, Context], Any]
Format = Callable[[Any], Any]


def _instant(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.astimezone(_LOCAL) if value.tzinfo is not None else value


def date_compact(value: Any) -> str | None:
    """YYYY-MM-DD → YYYYMMDD."""
    return value.replace("-", "") if isinstance(value, str) and len(value) == 10 else None


def local_time(value: Any) -> str | None:
    """An instant → local time of Vietnam as YYYY-MM-DDTHH:mm:ss, without an offset."""
    instant = _instant(value)
    return instant.strftime("%Y-%m-%dT%H:%M:%S") if instant else None


def local_compact(value: Any) -> str | None:
    """An instant → local time of Vietnam as yyyyMMddHHmmss."""
    instant = _instant(value)
    return instant.strftime("%Y%m%d%H%M%S") if instant else None


def flag(value: Any) -> str:
    """True → "1", anything else → "0"."""
    return "1" if value is True else "0"


def truth(value: Any) -> str:
    """True → "True", anything else → "False"."""
    return "True" if value is True else "False"


def digits(value: Any) -> str | None:
    """A whole number → its digits."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


FORMATS: dict[str, Format] = {
    "date-compact": date_compact,
    "local-time": local_time,
    "local-compact": local_compact,
    "flag": flag,
    "truth": truth,
    "digits": digits,
}
"""Formats by the name field maps call them."""


def province_of(place: Any, context: Context) -> str | None:
    """Two-digit province of a place: the one said, else the one its ward lies in."""
    for member, system in (("province", "vn-province"), ("ward", "vn-ward")):
        value = place.get(member) if isinstance(place, dict) else None
        if value is None:
            continue
        code = value["canonical"]
        if code is None:
            code = context.catalogue.standardise(value["system"], value["code"], system, context.on).code
        if code is None:
            continue
        if member == "province":
            return str(code)
        row = context.catalogue.systems["vn-ward"].row(code)
        return row.extra.get("parent") if row else None
    return None


def applicant_identities(applicant: Any, context: Context) -> list[dict[str, str]] | None:
    """The portal's `DinhDanhCHS`: the applicant's number, when it has 12 digits (kind 1) or 9 (kind 2)."""
    number = str(applicant.get("identity_number") or "")
    kind = {12: "1", 9: "2"}.get(len(number))
    return [{"LoaiDinhDanh": kind, "SoDinhDanh": number}] if kind else None


def any_digitised(filing: Any, context: Context) -> str:
    """The portal's `HoSoCoThanhPhanSoHoa`: "1" when at least one attachment is digitised."""
    return flag(any(a.get("digitised") for a in filing.get("attachments") or ()))


def consulted_databases(codes: Any, context: Context) -> list[dict[str, str]] | None:
    """The portal's `DSKetNoiCSDL`."""
    return [{"MaCSDL": str(code)} for code in codes] or None


def document_address(paper: Any, context: Context) -> str | None:
    """Where a document can be fetched: its own address, or one for this delivery's receiver where the hub keeps it.

    `context.meta["file_address"]` gives that; without it (nobody to send to) the document is named by its id.
    """
    if (kept := paper.get("file")) is None:
        found: str | None = paper.get("url")
        return found
    address = context.meta.get("file_address")
    return str(address(kept)) if address is not None else f"urn:lien-thong:file:{kept}"


FUNCTIONS: dict[str, Function] = {
    "province_of": province_of,
    "applicant_identities": applicant_identities,
    "any_digitised": any_digitised,
    "consulted_databases": consulted_databases,
    "document_address": document_address,
}
"""Functions by the name field maps call them."""

TURNS_INTO: dict[str, frozenset[str]] = {"province_of": frozenset({"vn-province", "vn-ward"})}
"""Code systems a function looks codes up in; one that is not here knows no tables."""
