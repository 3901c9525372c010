"""What is asked: one question in the words of the contract, as SOAP or as JSON, and read back from its own bytes.

One concern: from mapped fields to request bytes and from request bytes to the identity they ask about. It must never
keep a question: what is needed again is read from what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha1
from typing import Any
from uuid import NAMESPACE_URL, uuid5
from xml.sax.saxutils import unescape

import orjson
from msgspec import Struct

from adapters.population import envelope
from adapters.population.identity import Address, Asked
from hub.kernel.ports import Outgoing

OPERATIONS = {
    "verify": "XacThucThongTinCongDan",
    "household": "CungCapThongTinHoGiaDinh",
    "relatives": "XacMinhThongTinNhanThan",
    "householder": "XacMinhThongTinChuHo",
    "residence": "XacMinhThongTinNoiOHienTai",
}
"""Operation of each kind of question; `look_up` is the connector's choice."""
SUBMIT, STATUS, RESULT, DELETE, HISTORY = (
    "GetRequests", "GetRequestStatus", "GetRequestResult", "DeleteRequest", "GetRequestHistory",
)  # fmt: skip
_PLAIN = frozenset({"TraCuuThongTinCongDan", "CungCapThongTinCongDan", "XacThucThongTinCongDan"}) | {
    OPERATIONS["household"]
}
"""Operations whose question is the person alone: written with a prepared template."""
_FLAT = {"NgayThangNamSinh"}
"""Elements JSON callers write without their holder."""
_OPTIONAL = ("MaDonVi", "TaiKhoan", "SoDienThoai")
_Q = f"{{{envelope.REQUEST_NS}}}"
_RELATIVES = frozenset({f"{_Q}NguoiThan", f"{_Q}ChuHo"})
_PERSON = re.compile(
    rb"<\?xml version='1\.0' encoding='utf-8'\?>\s*<soap-env:Envelope [^<>]*><soap-env:Body><ns0:\w+ [^<>]*>(?:<ns0:\w+>[^<]*</ns0:\w+>)*?"
    rb"<ns0:(SoDinhDanh|SoCMND)>([^<\r]*)</ns0:\1><ns0:HoVaTen>([^<\r]*)</ns0:HoVaTen>"
    rb"<ns0:NgayThangNamSinh><ns0:(NgayThangNam|Nam)>([^<\r]*)</ns0:\4></ns0:NgayThangNamSinh>"
    rb"(?:<ns0:\w+>[^<]*</ns0:\w+>)*</ns0:\w+></soap-env:Body></soap-env:Envelope>"
)
"""A question about the person alone, as the templates write it: such bytes are read without being parsed again."""


class Question(Struct, frozen=True, kw_only=True):
    """One question about one person. Empty texts are what the school did not give."""

    kind: str
    number: str
    name: str
    birth: str
    """`YYYYMMDD` or `YYYY`."""
    sex: str
    purpose: str
    officer: str
    relatives: tuple[dict[str, str], ...] = ()
    place: dict[str, str] = {}

    @classmethod
    def of(cls, one: Outgoing, purpose: str, officer: str) -> Question:
        """The question of a delivery: of a `population_request` as it says, of a learner a look-up for the connector's own
        purpose."""
        mapped = one.mapped
        own = "LoaiYeuCau" in mapped
        relatives, place = mapped.get("NguoiThan"), mapped.get("NoiOHienTai")
        return cls(
            kind=_text(mapped.get("LoaiYeuCau")) if own else "look_up",
            number=_text(mapped.get("SoDinhDanh")),
            name=" ".join(envelope.clean(_text(mapped.get("HoVaTen"))).split()),
            birth=_text(mapped.get("NgayThangNamSinh")),
            sex=_text(mapped.get("GioiTinh")),
            purpose=_text(mapped.get("MucDich")) if own else purpose,
            officer=_text(mapped.get("CanBo")) if own else officer,
            relatives=tuple({k: _text(v) for k, v in r.items() if _text(v)} for r in relatives) if relatives else (),
            place={k: _text(v) for k, v in place.items() if _text(v)} if place else {},
        )

    @property
    def address(self) -> Address:
        """Where the school says they live."""
        p = self.place
        return Address(province=p.get("MaTinhThanh", ""), ward=p.get("MaPhuongXa", ""), detail=p.get("ChiTiet", ""))


class Writer:
    """Writes questions for one connector: the same unit, account and form."""

    def __init__(self, settings: Mapping[str, Any], profile: Mapping[str, Any]) -> None:
        self.json = profile["form"] == "json"
        self.content_type = "application/json" if self.json else "text/xml; charset=utf-8"
        self._uppercase = bool(profile["uppercase_name"])
        self._unit = str(settings["MaDVC"])
        self._path = str(settings.get("path") or "")
        self._paths: Mapping[str, str] = profile.get("paths") or {}
        self._common = {"MaDVC": self._unit, "MaTichHop": str(settings.get("MaTichHop") or "037")}
        self._optional = (
            {name: str(settings[name]) for name in _OPTIONAL if settings.get(name)} if profile["send_optional"] else {}
        )
        self._constants = lru_cache(maxsize=256)(self._constants_of)
        self._template = lru_cache(maxsize=256)(self._template_of)
        self._space = lru_cache(maxsize=256)(self._space_of)

    def path(self, operation: str) -> str:
        """The path of an operation, where the form has one for each."""
        return self._path + str(self._paths.get(operation, ""))

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the form itself."""
        return {} if self.json else {"SOAPAction": '""'}

    def number_of(self, officer: str, *parts: object) -> str:
        """`MaYeuCau`: the same for the same question, and never another officer's or unit's."""
        return _named(self._space(officer), "/".join(map(str, parts)))

    def _space_of(self, officer: str) -> bytes:
        return uuid5(NAMESPACE_URL, f"{envelope.REQUEST_NS}/{self._unit}/{officer}").bytes

    def _constants_of(self, officer: str) -> dict[str, str]:
        return {**self._common, "MaCanBo": officer, **self._optional}

    def _template_of(self, officer: str, operation: str) -> envelope.RequestTemplate:
        return envelope.RequestTemplate(self._constants(officer), operation)

    def write(self, operation: str, request_id: str, asked: Question, service: str = "") -> bytes:
        """The bytes of a question about a person. `service`: the operation an asynchronous request stands for.

        Raises zeep's errors where the contract has no such question."""
        name = asked.name.upper() if self._uppercase else asked.name
        if not self.json and operation in _PLAIN:
            return self._template(asked.officer, operation).fill(request_id, asked.number, name, asked.birth)
        values: dict[str, Any] = {
            "MaYeuCau": request_id,
            **self._constants(asked.officer),
            "SoCMND" if len(asked.number) == 9 else "SoDinhDanh": envelope.clean(asked.number),
            "HoVaTen": name,
            "NgayThangNamSinh": {"Nam" if len(asked.birth) == 4 else "NgayThangNam": envelope.clean(asked.birth)},
        }
        relatives = [{k: envelope.clean(v) for k, v in r.items()} for r in asked.relatives]
        if operation == OPERATIONS["relatives"]:
            values["NguoiThan"] = relatives
        elif operation == OPERATIONS["householder"]:
            values["ChuHo"] = relatives[0] if relatives else {}
        elif operation == OPERATIONS["residence"]:
            values["NoiOHienTai"] = {k: envelope.clean(v) for k, v in asked.place.items()}
        elif operation == SUBMIT:
            values["DichVu"] = service
        return self._bytes(operation, values)

    def about(self, operation: str, officer: str, **named: str) -> bytes:
        """The bytes of a call about an earlier request: `RequestId` or `MaYeuCau`."""
        return self._bytes(operation, {"MaDVC": self._unit, "MaCanBo": officer, **named})

    def _bytes(self, operation: str, values: dict[str, Any]) -> bytes:
        return orjson.dumps(small(values)) if self.json else envelope.zeep_request(values, operation)


def _named(space: bytes, name: str) -> str:
    """`str(uuid5(UUID(bytes=space), name))` in a third of the time: one is made for every question."""
    told = bytearray(sha1(space + name.encode(), usedforsecurity=False).digest()[:16])
    told[6], told[8] = told[6] & 0x0F | 0x50, told[8] & 0x3F | 0x80
    text = told.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def small(values: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's names as JSON callers write them: the first letter small, a birth date without its holder."""
    told: dict[str, Any] = {}
    for name, value in values.items():
        key = name[0].lower() + name[1:]
        if isinstance(value, Mapping):
            told |= small(value) if name in _FLAT else {key: small(value)}
        else:
            told[key] = [small(v) if isinstance(v, Mapping) else v for v in value] if isinstance(value, list) else value
    return told


def asked_in(body: bytes, sex: str | None) -> tuple[Asked, Address]:
    """The identity and the place a stored question asks about, read back from the very bytes that were sent.

    Raises `envelope.Unreadable`."""
    written = _PERSON.fullmatch(body)
    if written is not None:
        try:
            number, name, birth = map(_decode, written.group(2, 3, 5))
        except UnicodeDecodeError as error:
            raise envelope.Unreadable(f"the stored question: {error.reason}") from None
        return Asked(number, name, birth, sex or None), Address()
    values = _json_values(body) if body[:1] == b"{" else _xml_values(body)
    asked = Asked(
        number=values.get("SoDinhDanh") or values.get("SoCMND", ""),
        name=values.get("HoVaTen", ""),
        birth=values.get("NgayThangNam") or values.get("Nam", ""),
        sex=sex or None,
    )
    province, ward, detail = (values.get(name, "") for name in ("MaTinhThanh", "MaPhuongXa", "ChiTiet"))
    return asked, Address(province=province, ward=ward, detail=detail)


def _json_values(body: bytes) -> dict[str, str]:
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise envelope.Unreadable(f"the stored question: {error}") from None
    values = {k[:1].upper() + k[1:]: v for k, v in told.items() if isinstance(v, str)}
    place = told.get("noiOHienTai") if isinstance(told.get("noiOHienTai"), dict) else {}
    return values | {k[:1].upper() + k[1:]: v for k, v in place.items() if isinstance(v, str)}


def _xml_values(body: bytes) -> dict[str, str]:
    question = envelope.payload(body)
    # Of the person alone: relatives, who stand last, bear names and numbers too.
    for relative in [node for node in reversed(question) if node.tag in _RELATIVES]:
        question.remove(relative)
    return {str(node.tag).removeprefix(_Q): (node.text or "").strip() for node in question.iter()}


def _decode(value: bytes) -> str:
    text = value.decode()
    return (unescape(text) if "&" in text else text).strip()


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
