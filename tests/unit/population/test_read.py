"""Answers: verdicts, faults and hostile bytes. `read` raises for nothing and tells no personal value."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import manifest
from adapters.population import envelope
from adapters.population.adapter import Population
from hub.kernel.ports import Call, NeedsPerson, Outcome, Outgoing, Reading, Receipt, Reply, TryLater, Unknown
from mappings.canonical.models import PopulationCheck

SAMPLES = Path(envelope.__file__).parent / "samples"
GOOD = (SAMPLES / "match" / "reply.xml").read_bytes()
NOT_FOUND = (SAMPLES / "not-found" / "reply.xml").read_bytes()
HEADERS = {"date": "Sat, 05 Sep 2026 00:00:03 GMT"}


def _adapter(**profile: object) -> Population:
    declared = manifest.load("population")
    given_ = declared.check_settings({"MaDVC": "H24-GDDT", "MaCanBo": "cb.gddt.01"})
    return Population(given_, declared.profile() | profile)


ADAPTER = _adapter()
ASKED = Outgoing(
    delivery=7,
    record=70,
    type="learner",
    key="3112345678",
    event="NEW",
    version=1,
    updated_at=datetime(2026, 9, 5, tzinfo=UTC),
    school="31-11296-01",
    body={},
    mapped={
        "SoDinhDanh": "031215000001",
        "HoVaTen": "Nguyễn Văn Ví Dụ",
        "NgayThangNamSinh": "20150103",
        "GioiTinh": "male",
    },
)
CALL: Call = ADAPTER.render([ASKED])[0]


def read(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Reading:
    return ADAPTER.read(CALL, Reply(status=status, body=body, headers=HEADERS if headers is None else headers))


def outcome(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Outcome:
    return read(body, status, headers).outcomes[7]


@pytest.mark.parametrize("case", ["match", "mismatch-name", "mismatch-birth-and-sex", "not-found"])
def test_a_verdict_is_a_canonical_record_without_personal_values(case: str) -> None:
    reading = read((SAMPLES / case / "reply.xml").read_bytes())
    (record,) = reading.records
    check = msgspec.convert(record.body, PopulationCheck)
    assert record.key == check.learner_code == "3112345678" and record.type == "population_check"
    assert check.verdict == case.partition("-")[0].replace("not", "not_found")
    assert check.checked_at == record.updated_at == datetime(2026, 9, 5, 0, 0, 3, tzinfo=UTC)
    assert check.request_id == CALL.meta["request_id"] and check.school_code == record.school == "31-11296-01"
    assert isinstance(reading.outcomes[7], Receipt)
    told = msgspec.json.encode(reading).decode()
    for private in ("031215000001", "VÍ DỤ", "Ví Dụ", "KHÁC", "20150103", "20150104"):
        assert private not in told


def test_a_key_that_names_the_school_too_is_no_learners_code() -> None:
    key = "TAM-7@31HP0123001"
    (call,) = ADAPTER.render([msgspec.structs.replace(ASKED, key=key)])
    (record,) = ADAPTER.read(call, Reply(status=200, body=GOOD, headers=HEADERS)).records
    assert (record.key, msgspec.convert(record.body, PopulationCheck).learner_code) == (key, "TAM-7")


def test_what_is_compared_is_what_was_sent() -> None:
    """A stored call without its personal metadata still reads the same: the question is in its bytes."""
    stored = msgspec.structs.replace(CALL, meta={k: v for k, v in CALL.meta.items() if k != "lookup_of"})
    reply = Reply(status=200, body=GOOD, headers=HEADERS)
    assert ADAPTER.read(stored, reply) == ADAPTER.read(CALL, reply)


def test_without_a_date_header_the_time_is_the_records() -> None:
    for headers in ({}, {"date": "never"}, {"date": ""}, {"date": "Sat, 99 Sep 99999 00:00:03 GMT"}):
        (record,) = read(GOOD, headers=headers).records
        assert record.updated_at == ASKED.updated_at


def test_a_schema_breach_is_explained_by_place_and_rule_only() -> None:
    told = outcome(GOOD.replace(b"<ns1:SoCMND/>", b"<ns1:SoCMND>03121500000199</ns1:SoCMND>"))
    assert isinstance(told, Unknown)
    assert "CongDan/ns1:SoCMND" in told.reason and "pattern" in told.reason and "0312" not in told.reason


@pytest.mark.parametrize("field", [b"SoDinhDanh", b"Ten", b"Nam", b"NgayThangNam", b"MaPhuongXa", b"GioiTinh"])
def test_no_broken_value_appears_in_an_explanation(field: bytes) -> None:
    before, _, rest = GOOD.partition(b"<ns1:" + field + b">")
    broken = before + b"<ns1:" + field + b">" + b"mat-" * 80 + rest[rest.index(b"<") :]
    told = outcome(broken)
    assert isinstance(told, Unknown) and field.decode() in told.reason and "mat-" not in told.reason


def test_an_answer_about_somebody_else_is_no_verdict() -> None:
    reading = read(GOOD.replace(b"031215000001", b"031215000002"))
    assert isinstance(reading.outcomes[7], Unknown) and not reading.records


def test_the_nearest_of_several_people_counts() -> None:
    person = GOOD[GOOD.index(b"<ns1:CongDan>") : GOOD.index(b"</ns1:CongDan>") + len(b"</ns1:CongDan>")]
    other = person.replace("NGUYỄN VĂN VÍ DỤ".encode(), "AI ĐÓ".encode())
    told = outcome(GOOD.replace(person, other + person).replace(b'SoCongDan="1"', b'SoCongDan="2"'))
    assert isinstance(told, Receipt) and told.detail == "match"


def test_a_missing_person_is_not_no_match_unless_the_profile_says_so() -> None:
    cut = NOT_FOUND.replace(b'SoCongDan="0"', b'SoCongDan="1"')
    assert isinstance(outcome(cut), Unknown)
    lenient = _adapter(trust_count=False).read(CALL, Reply(status=200, body=cut, headers=HEADERS))
    assert lenient.records[0].body["verdict"] == "not_found"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("Client.Authentication", "connector"),
        ("Client.Authentication.Expired", "connector"),
        ("Client.Quota", "later"),
        ("Client.Other", "person"),
        ("Server", "later"),
        ("Server.Anything.At.All", "later"),
        ("Elsewhere", "unknown"),
        ("", "unknown"),
    ],
)
def test_faults_are_read_by_the_profile(code: str, kind: str) -> None:
    body = (SAMPLES / "server-fault" / "reply.xml").read_bytes().replace(b"soapenv:Server<", f"a:{code}<".encode())
    told = outcome(body, 500)
    match kind:
        case "connector":
            assert isinstance(told, NeedsPerson) and told.scope == "connector"
        case "person":
            assert isinstance(told, NeedsPerson) and told.scope == "delivery"
        case "later":
            assert isinstance(told, TryLater)
        case _:
            assert isinstance(told, Unknown)


def _entities(levels: int) -> bytes:
    inner = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, levels))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{inner}]><x>&e{levels - 1};</x>'.encode()


HOSTILE = {
    "bomb": _entities(12),
    "bomb in UTF-16": _entities(12).decode().encode("utf-16"),
    "bomb in UTF-32": _entities(12).decode().encode("utf-32"),
    "external entity": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>',
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://a.invalid/p"> %p;]><x/>',
    "external DTD": b'<!DOCTYPE x SYSTEM "http://a.invalid/x.dtd"><x/>',
    "doctype in another encoding": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
    "oversize": GOOD + b" " * envelope.MAX_BYTES,
    "deep": b"<a>" * 50_000 + b"</a>" * 50_000,
    "deep inside": GOOD.replace(b"<ns1:SoCMND/>", b"<ns1:SoCMND>" + b"<a>" * 200 + b"</a>" * 200 + b"</ns1:SoCMND>"),
    "deep answer": GOOD.replace(b"<ns1:SoCMND/>", b"<ns1:Cha>" * 240 + b"</ns1:Cha>" * 240),
    "wide": GOOD.replace(b"<ns1:SoCMND/>", b"<ns1:SoCMND/>" * 15_000),
    "many attributes": b"<a " + b" ".join(b'b%d="1"' % i for i in range(15_000)) + b"/>",
    "SOAP 1.2": GOOD.replace(b"http://schemas.xmlsoap.org/soap/envelope/", b"http://www.w3.org/2003/05/soap-envelope"),
    "another namespace": GOOD.replace(b"/dancu/1.0", b"/dancu/2.0"),
    "two answers": GOOD.replace(b"</soapenv:Body>", b"<x/></soapenv:Body>"),
    "no body": b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"/>',
    "web page": b"\xef\xbb\xbf <HTML><body>B\xe1\xba\xa3o tr\xc3\xac</body></HTML>",
    "count": NOT_FOUND.replace(b'SoCongDan="0"', b'SoCongDan="%s"' % (b"9" * 5000)),
    "empty": b"",
    "nul": b"\0" * 100,
    "cut": GOOD[:-40],
}


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_unknown_and_soon_so(name: str, status: int) -> None:
    started = time.monotonic()
    reading = read(HOSTILE[name], status)
    assert isinstance(reading.outcomes[7], Unknown) and not reading.records
    assert len(reading.outcomes[7].reason) < 1000
    assert time.monotonic() - started < 2


def test_a_comment_cannot_split_a_value() -> None:
    told = outcome(
        GOOD.replace("VÍ DỤ".encode(), "VÍ<!-- x --> DỤ".encode()).replace(b"<ns1:Ten>", b"<ns1:Ten><?p x?>")
    )
    assert isinstance(told, Receipt) and told.detail == "match"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(-1, 1000))
def test_no_bytes_and_no_status_raise_or_pass_for_an_answer(body: bytes, status: int) -> None:
    told = outcome(body, status, {})
    assert not isinstance(told, Receipt)
    if 200 <= status < 300:
        assert isinstance(told, Unknown)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 60), st.binary(max_size=8))
def test_a_damaged_answer_never_raises(at: int, removed: int, put: bytes) -> None:
    damaged = GOOD[:at] + put + GOOD[at + removed :]
    assert set(read(damaged).outcomes) == {7}


@given(st.binary(max_size=100))
def test_a_damaged_stored_call_never_raises(body: bytes) -> None:
    broken = msgspec.structs.replace(CALL, body=body, meta={}, key=None)
    told = ADAPTER.read(broken, Reply(status=200, body=GOOD, headers=HEADERS)).outcomes[7]
    assert isinstance(told, Unknown)
