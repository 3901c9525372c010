"""What is answered: SOAP or JSON bytes as one plain shape, whatever the operation.

One concern: reading. It must never judge: whether a citizen is the one asked about, or what a fault means, is decided
elsewhere.
"""

from __future__ import annotations

from typing import Any

from lxml import etree
from msgspec import Struct

from adapters.kit import code_of, json_object, text_of
from adapters.population import envelope
from adapters.population.identity import ANSWER_NS, Address, Citizen, citizen_of, citizen_of_json
from adapters.population.questions import DELETE, HISTORY, RESULT, STATUS, SUBMIT

_Q = f"{{{ANSWER_NS}}}"
_PEOPLE = frozenset({"TraCuuThongTinCongDan", "CungCapThongTinCongDan", "CungCapThongTinHoGiaDinh", RESULT})
_REMOTE = frozenset({SUBMIT, STATUS, DELETE})
_YES = {"true": True, "1": True, "false": False, "0": False}


class Fault(Struct, frozen=True):
    """A refusal in the database's own words, long numbers masked."""

    code: str
    text: str


class Remote(Struct, frozen=True, kw_only=True):
    """An asynchronous request as the database knows it."""

    number: str
    """Its own id for it."""
    state: str
    asked_as: str = ""
    """Our `MaYeuCau`."""
    wait_s: float | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """An answer; which members are set depends on the operation."""

    people: tuple[Citizen, ...] = ()
    exists: bool | None = None
    confirmed: tuple[bool, ...] = ()
    """Relative by relative, in the question's order; empty where only the whole was answered."""
    residence: Address | None = None
    remote: tuple[Remote, ...] = ()


def understand(operation: str, body: bytes, *, json: bool, trust_count: bool) -> Answer | Fault:
    """Read a reply's bytes. Raises `envelope.Unreadable` for anything that is neither an answer nor a fault."""
    if json:
        return _of_json(operation, body, trust_count)
    element = envelope.payload(body)
    refused = envelope.fault(element)
    if refused is not None:
        return Fault(*refused)
    if operation in _PEOPLE:
        people = envelope.check_answer(element, trust_count=trust_count)
        return Answer(people=tuple(citizen_of(one) for one in people))
    if operation == HISTORY:
        found = envelope.checked(element, "RequestHistory")
        return Answer(remote=tuple(_remote(one) for one in found))
    if operation in _REMOTE:
        return Answer(remote=(_remote(envelope.checked(element, "RequestState")),))
    told = envelope.checked(element, "KetQuaXacMinh")
    place = told.find(f"{_Q}NoiOHienTai")
    return Answer(
        exists=_YES[_said(told, "TonTai")],
        confirmed=tuple(_YES[_said(one, "TonTai")] for one in told.findall(f"{_Q}NguoiThan")),
        residence=None if place is None else Address(*(_said(place, name) for name in _PLACE)),
    )


_PLACE = ("MaTinhThanh", "MaQuanHuyen", "MaPhuongXa", "ChiTiet")


def _said(parent: etree._Element, name: str) -> str:
    return (parent.findtext(_Q + name) or "").strip()


def _remote(element: etree._Element) -> Remote:
    wait = _said(element, "ThoiGianCho")
    return Remote(
        number=_said(element, "RequestId"),
        state=_said(element, "TrangThai"),
        asked_as=_said(element, "MaYeuCau"),
        wait_s=float(wait) if wait else None,
    )


def _of_json(operation: str, body: bytes, trust_count: bool) -> Answer | Fault:
    if len(body) > envelope.MAX_BYTES:
        raise envelope.Unreadable(f"{len(body)} bytes are more than the {envelope.MAX_BYTES} an answer may have")
    told = json_object(body)
    if told is None:
        raise envelope.Unreadable("not a JSON object")
    code = code_of(told.get("maLoi"))
    if code not in (None, "", "0", "00"):
        return Fault(envelope.safe(code or ""), envelope.safe(text_of(told.get("moTa"))))
    if operation in _PEOPLE:
        return Answer(people=_people(told, trust_count))
    if operation in _REMOTE:
        return Answer(remote=(_remote_json(told),))
    if operation == HISTORY:
        return Answer(remote=tuple(_remote_json(one) for one in _list(told, "yeuCau")))
    return Answer(
        exists=_yes(told.get("tonTai")),
        confirmed=tuple(_yes(one.get("tonTai")) for one in _list(told, "nguoiThan")),
        residence=citizen_of_json({"noiOHienTai": told.get("noiOHienTai")}).residence,
    )


def _people(told: dict[str, Any], trust_count: bool) -> tuple[Citizen, ...]:
    found = tuple(citizen_of_json(one) for one in _list(told, "congDan"))
    count = code_of(told.get("soCongDan")) or "0"
    if trust_count and count.isascii() and count.isdigit() and len(count) < 10 and len(found) < int(count):
        raise envelope.Unreadable("incomplete: fewer congDan than soCongDan says")
    if any(not one.name for one in found):
        raise envelope.Unreadable("against the contract: a congDan without hoVaTen")
    return found


def _list(told: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A member that must be there as a list of objects: an answer without it must not pass for an empty one."""
    value = told.get(name) if name != "nguoiThan" else told.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise envelope.Unreadable(f"against the contract: {name} is not a list of objects")
    return value


def _yes(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = _YES.get(code_of(value) or "")
    if known is None:
        raise envelope.Unreadable("against the contract: tonTai is neither true nor false")
    return known


def _remote_json(told: dict[str, Any]) -> Remote:
    number, state = text_of(told.get("requestId"), 64), text_of(told.get("trangThai"), 64)
    if not number or not state:
        raise envelope.Unreadable("against the contract: no requestId or no trangThai")
    wait = told.get("thoiGianCho")
    seconds = code_of(wait) or ""
    wait_s = float(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 10 else None
    return Remote(number=number, state=state, asked_as=text_of(told.get("maYeuCau"), 64), wait_s=wait_s)
