"""The simulated database's people, and how it writes them: synthetic citizens as SOAP elements or JSON.

One concern: an answer's bytes out of plain values. It must never hold a real person, nor be used by the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import orjson
from msgspec import Struct

from adapters.population.questions import small

_OPEN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soapenv:Header/><soapenv:Body>"
)
_CLOSE = "</soapenv:Body></soapenv:Envelope>"


class Relative(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A relative as the database knows one."""

    name: str
    number: str = ""


class Person(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One synthetic citizen of the `--people` file: a JSON array of these."""

    number: str
    """12 digits."""
    name: str
    birth: str
    """`YYYYMMDD`, or `YYYY` when only the year is recorded."""
    sex: Literal["", "0", "1", "2"] = ""
    """The database's own code: 1 male, 2 female; 0 or empty is not recorded."""
    old_number: str = ""
    """9 digits, or empty."""
    ethnicity: str = "01"
    province: str = "31"
    district: str = ""
    """3 digits, or empty as after July 2025."""
    ward: str = ""
    detail: str = ""
    household: str = ""
    """People of one household share this; empty: nobody else lives there."""
    householder: bool = False
    relatives: list[Relative] = []


def citizen(person: Person) -> dict[str, Any]:
    """A person as the database writes one: by turns the name whole in Ten or in its three parts."""
    whole = person.name.upper()
    words = whole.split()
    parts = ["", "", whole]
    if int(person.number[-1]) % 2 and len(words) > 1:
        parts = [words[0], " ".join(words[1:-1]), words[-1]]
    born = {"Nam": person.birth[:4]} | ({"NgayThangNam": person.birth} if len(person.birth) == 8 else {})
    return {
        "SoDinhDanh": person.number,
        "SoCMND": person.old_number,
        "HoVaTen": dict(zip(("Ho", "ChuDem", "Ten"), parts, strict=True)),
        "GioiTinh": person.sex,
        "DanToc": person.ethnicity,
        "TonGiao": "00",
        "NgayThangNamSinh": born,
        "QuocTich": "VN",
        "ThuongTru": address(person),
    }


def address(person: Person) -> dict[str, Any]:
    """Where a person is registered; districts only for those who still have one."""
    district = {"MaQuanHuyen": person.district} if person.district else {}
    detail = {"ChiTiet": person.detail} if person.detail else {}
    return {"MaTinhThanh": person.province, **district, "MaPhuongXa": person.ward, **detail, "QuocGia": "VN"}


def soap(name: str, content: Mapping[str, Any], attributes: Mapping[str, str] | None = None) -> bytes:
    """A SOAP answer of one element of the answers' namespace."""
    told = "".join(f" {key}={quoteattr(value)}" for key, value in (attributes or {}).items())
    inner = "".join(_xml(key, value) for key, value in content.items())
    opened = f'<ns1:{name} xmlns:ns1="http://www.mic.gov.vn/dancu/1.0"{told}>'
    return f"{_OPEN}{opened}{inner}</ns1:{name}>{_CLOSE}".encode()


def soap_fault(code: str, text: str) -> bytes:
    """A SOAP 1.1 fault."""
    fault = (
        f"<soapenv:Fault><faultcode>soapenv:{code}</faultcode><faultstring>{escape(text)}</faultstring></soapenv:Fault>"
    )
    return (_OPEN + fault + _CLOSE).encode()


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_xml(name, one) for one in value)
    inner = "".join(_xml(k, v) for k, v in value.items()) if isinstance(value, Mapping) else escape(str(value))
    return f"<ns1:{name}>{inner}</ns1:{name}>" if inner else f"<ns1:{name}/>"


def json(content: Mapping[str, Any], attributes: Mapping[str, str] | None = None) -> bytes:
    """A JSON answer: the same names with a small first letter, and `maLoi` 0."""
    return orjson.dumps({"maLoi": "0", **small(attributes or {}), **small(content)})


def json_fault(code: str, text: str) -> bytes:
    """A refusal in JSON."""
    return orjson.dumps({"maLoi": code, "moTa": text})
