"""Requests: what zeep would write, valid against the pinned schema, the same bytes every time."""

from __future__ import annotations

import socket
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest
import zeep
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from adapters import manifest
from adapters.population import envelope
from adapters.population.adapter import Population
from adapters.population.questions import _PERSON, _named, asked_in
from hub.kernel.ports import Call, Outgoing

SETTINGS = {"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"}
OPTIONAL = {"MaDonVi": "000.00.00.H24", "TaiKhoan": "gddt <hp> & ]]>", "SoDienThoai": "0"}
NS = "{http://dancuquocgia.bca}"


def adapter(settings: dict[str, str] | None = None, **profile: Any) -> Population:
    declared = manifest.load("population")
    return Population(declared.check_settings(SETTINGS | (settings or {})), declared.profile() | profile)


def outgoing(**given_: Any) -> Outgoing:
    mapped = {
        "SoDinhDanh": "031215000001",
        "HoVaTen": "Nguyễn Văn Ví Dụ",
        "NgayThangNamSinh": "20150103",
        "GioiTinh": "male",
    }
    fields: dict[str, Any] = {
        "delivery": 7,
        "record": 70,
        "type": "learner",
        "key": "3112345678",
        "event": "NEW",
        "version": 1,
        "updated_at": datetime(2026, 9, 5, tzinfo=UTC),
        "school": "31-11296-01",
        "body": {},
        "mapped": mapped | given_.pop("mapped", {}),
    }
    return Outgoing(**(fields | given_))


def question(call: Call) -> etree._Element:
    return envelope.payload(call.body)


def values(call: Call) -> dict[str, str]:
    return {str(node.tag).removeprefix(NS): node.text or "" for node in question(call) if not len(node)}


def valid(call: Call) -> bool:
    return etree.XMLSchema(etree.parse(str(envelope.CONTRACT / "request.xsd"))).validate(question(call))


def canonical(body: bytes) -> bytes:
    return etree.tostring(etree.fromstring(body), method="c14n")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)


@given(NAMES, st.sampled_from(["031215000001", "031000004"]), st.sampled_from(["2014", "20140820"]), st.booleans())
def test_the_template_writes_what_zeep_writes(name: str, number: str, birth: str, optional: bool) -> None:
    constants = SETTINGS | {"MaTichHop": "037"} | (OPTIONAL if optional else {})
    name = "".join(c for c in name if c not in "\ufffe\uffff")
    expected = envelope.zeep_request(
        {
            **constants,
            "MaYeuCau": "yc-1",
            "SoDinhDanh" if len(number) == 12 else "SoCMND": number,
            "HoVaTen": name,
            "NgayThangNamSinh": {"NgayThangNam" if len(birth) == 8 else "Nam": birth},
        }
    )
    made = envelope.RequestTemplate(constants).fill("yc-1", number, name, birth)
    assert canonical(made) == canonical(expected)


@pytest.mark.parametrize("settings", [{}, OPTIONAL])
@pytest.mark.parametrize("number", ["031215000001", "031000004"])
@pytest.mark.parametrize("birth", ["20150103", "2015"])
def test_requests_follow_the_schema(settings: dict[str, str], number: str, birth: str) -> None:
    (call,) = adapter(settings).render([outgoing(mapped={"SoDinhDanh": number, "NgayThangNamSinh": birth})])
    assert valid(call)
    order = [str(node.tag).removeprefix(NS) for node in question(call)]
    middle = ["MaDonVi", "TaiKhoan", "SoDienThoai"] if settings else []
    kind = "SoDinhDanh" if len(number) == 12 else "SoCMND"
    assert order == ["MaYeuCau", "MaDVC", "MaTichHop", "MaCanBo", *middle, kind, "HoVaTen", "NgayThangNamSinh"]
    assert question(call).findtext(f"{NS}NgayThangNamSinh/{NS}{'NgayThangNam' if len(birth) == 8 else 'Nam'}") == birth


def test_the_profile_decides_capitals_and_optional_elements() -> None:
    (upper,) = adapter(OPTIONAL).render([outgoing()])
    (plain,) = adapter(OPTIONAL, uppercase_name=False, send_optional=False).render([outgoing()])
    assert values(upper)["HoVaTen"] == "NGUYỄN VĂN VÍ DỤ"
    assert values(plain)["HoVaTen"] == "Nguyễn Văn Ví Dụ"
    assert "TaiKhoan" in values(upper) and "TaiKhoan" not in values(plain)


@pytest.mark.parametrize(("same", "numbers"), [(True, 3), (False, 6)])
def test_one_call_per_delivery_and_a_request_number_of_its_own(same: bool, numbers: int) -> None:
    """Tried again, a question keeps its number, unless the profile says that each try has its own."""
    asking = adapter(same_number_on_retry=same)
    batch = [outgoing(delivery=number, attempt=attempt) for number in (1, 2, 3) for attempt in (1, 2)]
    calls = asking.render(batch)
    assert [call.deliveries for call in calls] == [(1,), (1,), (2,), (2,), (3,), (3,)]
    assert len({values(call)["MaYeuCau"] for call in calls}) == numbers
    assert asking.render(batch) == calls == adapter(same_number_on_retry=same).render(batch)
    assert values(adapter({"MaDVC": "X"}).render(batch)[0])["MaYeuCau"] != values(calls[0])["MaYeuCau"]


def test_the_call_carries_the_look_up_log_and_nothing_personal_beside_the_number() -> None:
    (call,) = adapter({"purpose": "Tuyển sinh đầu cấp"}).render([outgoing()])
    assert call.meta["purpose"] == "Tuyển sinh đầu cấp"
    assert call.meta["request_id"] == values(call)["MaYeuCau"]
    assert call.meta["officer"] == "cb.gddt.01"
    assert call.meta["lookup_of"] == "031215000001"
    assert "Nguyễn" not in str(call.meta) and "2015" not in str(call.meta["updated_at"])
    assert call.idempotent and call.headers == {"SOAPAction": '""'} and call.key == "3112345678"
    assert manifest.load("population").operations[call.operation].intent


@pytest.mark.parametrize(
    ("given_", "kept"), [("male", "male"), ("1", "male"), ("2", "female"), ("unknown", None), ("0", None), (None, None)]
)
def test_sex_is_kept_only_when_the_database_can_answer_it(given_: str | None, kept: str | None) -> None:
    (call,) = adapter().render([outgoing(mapped={"GioiTinh": given_})])
    assert call.meta["sex"] == kept


def test_a_delivery_without_a_number_still_has_its_call() -> None:
    calls = adapter().render([outgoing(mapped={"SoDinhDanh": None}), outgoing(delivery=8)])
    assert [call.deliveries for call in calls] == [(7,), (8,)]
    assert values(calls[0])["SoDinhDanh"] == "" and not valid(calls[0])


@given(st.text(max_size=30))
def test_any_name_gives_well_formed_xml(name: str) -> None:
    (call,) = adapter().render([outgoing(mapped={"HoVaTen": name})])
    sent = values(call)["HoVaTen"]
    assert sent == " ".join(sent.split())
    if all(unicodedata.category(c) not in ("Cc", "Cs") and c not in "\ufffe\uffff" for c in name):
        assert sent == " ".join(name.split()).upper()


def test_control_characters_are_left_out_of_a_name() -> None:
    (call,) = adapter().render([outgoing(mapped={"HoVaTen": "Lê\x00 \x1b\ud800Thử\x07"})])
    assert values(call)["HoVaTen"] == "LÊ THỬ"


def test_the_codec_never_uses_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    uncached: Callable[[], zeep.Client] = envelope.client.__wrapped__
    codec = uncached()
    assert codec.wsdl.types.get_element("{http://dancuquocgia.bca}TraCuuThongTinCongDan") is not None
    with pytest.raises(zeep.exceptions.TransportError):
        codec.transport.load("http://population.invalid/other.wsdl")


_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    name=_TEXT,
    number=st.sampled_from(["031215000001", "123456789", " 031215000001 ", "<&>\r\n7", ""]),
    year_only=st.booleans(),
)
def test_a_question_read_back_without_parsing_is_the_one_parsed(name: str, number: str, year_only: bool) -> None:
    asked = outgoing(
        mapped={"HoVaTen": name, "SoDinhDanh": number, "NgayThangNamSinh": "2015" if year_only else "20150103"}
    )
    for settings in ({}, OPTIONAL):
        (call,) = adapter(settings, send_optional=True).render([asked])
        # White space between tags says nothing, and only the parser takes it.
        parsed = asked_in(call.body.replace(b"<soap-env:Body>", b"<soap-env:Body> "), "male")
        assert asked_in(call.body, "male") == parsed
        if "\r" not in number:
            assert _PERSON.fullmatch(call.body), "the templates' own bytes need no parser"


def test_relatives_are_not_taken_for_the_person() -> None:
    parent = {"HoVaTen": "Trần Thị Ví Dụ", "SoDinhDanh": "031185000002"}
    asked = {"LoaiYeuCau": "householder", "MucDich": "x", "CanBo": "cb", "NguoiThan": [parent]}
    (call,) = adapter().render([outgoing(type="population_request", mapped=asked)])
    assert _PERSON.fullmatch(call.body) is None
    assert asked_in(call.body, None)[0].number == "031215000001"


@given(space=st.uuids(), name=st.text(max_size=60).filter(lambda t: t.isprintable()))
def test_the_number_of_a_question_is_a_uuid_of_version_5(space: UUID, name: str) -> None:
    assert _named(space.bytes, name) == str(uuid5(space, name))
