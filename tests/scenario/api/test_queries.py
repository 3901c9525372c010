"""The hub is asked: over REST, and as a provider on the exchange. Nobody is told about a school that is not theirs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from lxml import etree
from zeep import Client
from zeep.transports import Transport

from hub.api import query, xroad_provider
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import queries

S1, S2 = "31HP0000001", "31HP0000002"
AGENCY = "VN/GOV/000.00.00.G04/hocba"
XRD, ID, SOAP = (
    "http://x-road.eu/xsd/xroad.xsd",
    "http://x-road.eu/xsd/identifiers",
    "http://schemas.xmlsoap.org/soap/envelope/",
)
WHY = {"purpose": "Xét tuyển đầu cấp", "officer": "cb.gddt.07"}


@pytest.fixture
def asked(gateway: Any, ledger: Any, make_learner: Any) -> Any:
    """The gateway with a learner at each school, clients that may ask, and a subsystem with a grant for one school."""

    async def prepare() -> None:
        async with ledger() as led:
            await led.owner.execute("UPDATE clients SET rights = ARRAY['push', 'query', 'xroad']")
            await queries.grant(led.core, "test", AGENCY, "enrolment", Scope("school", S1))

    asyncio.run(prepare())
    for name, school, code in (("school-1", S1, "QQ00001"), ("school-2", S2, "QQ00002")):
        with gateway.client(f"key-of-{name}") as c:
            assert c.post("/v1/messages/learner", json=make_learner(code, school)).status_code == 202
    gateway.born = make_learner("QQ00001", S1)["data"]["birth_date"]
    gateway.ledger = ledger
    return gateway


def log(gateway: Any) -> list[Any]:
    async def read() -> list[Any]:
        async with gateway.ledger() as led:
            return list(await led.rows("SELECT * FROM queries ORDER BY id"))

    return asyncio.run(read())


def ask(gateway: Any, client: str, code: str, **more: str) -> httpx.Response:
    with gateway.client(f"key-of-{client}") as c:
        given = {"learner_code": code, "birth_date": gateway.born} | more
        return c.post("/v1/queries/enrolment", json={**WHY, "input": given})


@pytest.mark.parametrize(
    ("client", "code", "found"),
    [("school-1", "QQ00001", True), ("school-1", "QQ00002", False), ("school-2", "QQ00001", False), ("ward-1", "QQ00001", True),
     ("ward-1", "QQ00002", False), ("department", "QQ00002", True), ("department", "QQ99999", False)],
)  # fmt: skip
def test_enrolment_is_told_within_the_scope_alone_and_logged_first(
    asked: Any, client: str, code: str, found: bool
) -> None:
    reply = ask(asked, client, code)
    assert reply.status_code == 200 and reply.json()["found"] is found
    if found:
        assert reply.json()["enrolled"] is True and reply.json()["school_code"] in (S1, S2)
        assert "full_name" not in reply.json() and "birth_date" not in reply.json()
    else:
        assert reply.json() == {"found": False}, "what is not yours and what does not exist are told alike"
    (line,) = log(asked)
    assert (line["client"], line["officer"], line["found"]) == (client, WHY["officer"], found)
    assert code.encode() not in bytes(line["input_hash"]) and len(line["input_hash"]) == 32


def test_a_guessed_number_tells_nothing(asked: Any) -> None:
    assert ask(asked, "department", "QQ00001", birth_date="1999-01-01").json() == {"found": False}
    assert ask(asked, "department", "QQ00001", school_code=S2).json() == {"found": False}


@pytest.mark.parametrize(
    ("change", "status"),
    [({"purpose": ""}, 422), ({"officer": ""}, 422), ({"purpose": "Xét tuyển\0đầu cấp"}, 422), ({"input": {}}, 422), ({"input": {"learner_code": "QQ00001", "birth_date": "x" * 99}}, 422),
     ({"input": {"learner_code": "QQ00001", "birth_date": "2012-01-01", "full_name": "A"}}, 422)],
)  # fmt: skip
def test_a_question_without_its_reasons_is_not_put(asked: Any, change: dict[str, Any], status: int) -> None:
    with asked.client("key-of-department") as c:
        body = {**WHY, "input": {"learner_code": "QQ00001", "birth_date": asked.born}} | change
        assert c.post("/v1/queries/enrolment", json=body).status_code == status
        assert c.post(
            "/v1/queries/grades", json=body | {"purpose": WHY["purpose"], "officer": "cb.01"}
        ).status_code in (404, 422)
    assert log(asked) == []


def test_a_client_without_the_right_is_refused(gateway: Any) -> None:
    with gateway.client("key-of-department") as c:
        body = {**WHY, "input": {"learner_code": "QQ00001", "birth_date": "2012-01-01"}}
        assert c.post("/v1/queries/enrolment", json=body).status_code == 403
        question = {"purpose": WHY["purpose"], "input": body["input"]}
        assert c.post("/xroad/v1/rest/enrolment", json=question).status_code == 403
        assert c.post("/xroad/v1/soap", content=b"<x/>").status_code == 403


def test_the_exchange_asks_by_rest(asked: Any) -> None:
    headers = {"X-Road-Client": AGENCY, "X-Road-Id": "id-1", "X-Road-UserId": "VN0123"}

    def post(code: str, change: dict[str, Any] | None = None, **other: str) -> httpx.Response:
        with asked.client("key-of-department") as c:
            question = {"purpose": WHY["purpose"], "input": {"learner_code": code, "birth_date": asked.born}}
            return c.post("/xroad/v1/rest/enrolment", json=question | (change or {}), headers=headers | other)

    assert post("QQ00001").json()["enrolled"] is True and post("QQ00001").headers["x-road-id"] == "id-1"
    assert post("QQ00002").json() == {"found": False}, "the grant is for the other school"
    assert post("QQ00001", **{"X-Road-Client": "VN/GOV/000.00.00.G04/other"}).status_code == 403
    for wrong in ({"X-Road-Client": ""}, {"X-Road-Client": "VN/GOV"}, {"X-Road-UserId": ""}, {"X-Road-Id": ""}):
        assert post("QQ00001", **wrong).status_code == 400
    for change in ({"purpose": "xem"}, {"input": {}}, {"input": {"learner_code": "QQ00001"}}, {"officer": "ai"}):
        assert post("QQ00001", change).status_code == 422, change
    assert {r["asker"] for r in log(asked)} == {AGENCY} and {r["officer"] for r in log(asked)} == {"VN0123"}
    assert {r["purpose"] for r in log(asked)} == {WHY["purpose"]} and len(log(asked)) == 3


def test_nothing_about_a_child_may_stand_in_an_address(asked: Any) -> None:
    """An address is in the log of every server on the way: a question put there is not answered, whoever asks."""
    headers = {"X-Road-Client": AGENCY, "X-Road-Id": "id-1", "X-Road-UserId": "VN0123"}
    given = {"learner_code": "QQ00001", "birth_date": asked.born, "purpose": WHY["purpose"]}
    with asked.client("key-of-department") as c:
        reply = c.get("/xroad/v1/rest/enrolment", params=given, headers=headers)
        assert reply.status_code == 405 and reply.headers["allow"] == "POST" and "QQ00001" not in reply.text
        assert c.post("/xroad/v1/rest/enrolment", params=given, headers=headers).status_code == 422
    assert log(asked) == []


# ruff: noqa: E501
ENVELOPE = """<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="{SOAP}" xmlns:xrd="{XRD}" xmlns:id="{ID}"><s:Header>
<xrd:client id:objectType="SUBSYSTEM"><id:xRoadInstance>VN</id:xRoadInstance><id:memberClass>GOV</id:memberClass><id:memberCode>000.00.00.G04</id:memberCode><id:subsystemCode>{subsystem}</id:subsystemCode></xrd:client>
<xrd:service id:objectType="SERVICE"><id:xRoadInstance>VN</id:xRoadInstance><id:memberClass>GOV</id:memberClass><id:memberCode>000.00.00.H24</id:memberCode><id:subsystemCode>lienthong</id:subsystemCode><id:serviceCode>enrolment</id:serviceCode><id:serviceVersion>v1</id:serviceVersion></xrd:service>
<xrd:id>4894e35d-bf0f-44a6</xrd:id><xrd:userId>VN0123</xrd:userId><xrd:issue>VV-1</xrd:issue><xrd:protocolVersion>{version}</xrd:protocolVersion>
</s:Header><s:Body><e:enrolment xmlns:e="urn:lien-thong:queries:1"><e:purpose>Xét tuyển đầu cấp</e:purpose><e:learner_code>{code}</e:learner_code><e:birth_date>{born}</e:birth_date></e:enrolment></s:Body></s:Envelope>"""


def soap(
    gateway: Any, code: str = "QQ00001", subsystem: str = "hocba", version: str = "4.0", body: bytes | None = None
) -> Any:
    text = ENVELOPE.format(
        SOAP=SOAP, XRD=XRD, ID=ID, code=code, born=gateway.born, subsystem=subsystem, version=version
    )
    with gateway.client("key-of-department") as c:
        reply = c.post("/xroad/v1/soap", content=body or text.encode(), headers={"Content-Type": "text/xml"})
    assert reply.headers["content-type"].startswith("text/xml")
    return etree.fromstring(reply.content)


def test_the_exchange_asks_by_soap_and_gets_its_headers_back_as_they_were(asked: Any) -> None:
    answer = soap(asked)
    sent = etree.fromstring(
        ENVELOPE.format(
            SOAP=SOAP, XRD=XRD, ID=ID, code="QQ00001", born=asked.born, subsystem="hocba", version="4.0"
        ).encode()
    )

    def headers(root: Any) -> list[bytes]:
        return [
            etree.tostring(h, method="c14n", exclusive=True, with_tail=False) for h in root.find(f"{{{SOAP}}}Header")
        ]

    assert headers(answer) == headers(sent)
    assert answer.findtext(".//{urn:lien-thong:queries:1}enrolled") == "true"
    assert answer.findtext(".//{urn:lien-thong:queries:1}school_code") == S1
    assert soap(asked, "QQ00002").findtext(".//{urn:lien-thong:queries:1}found") == "false"
    for fault, code in (({"subsystem": "khac"}, "Client.not_granted"), ({"version": "3.0"}, "Client.bad_headers")):
        assert soap(asked, **fault).findtext(".//faultcode") == f"soap:{code}"


def test_hostile_xml_is_a_fault(asked: Any) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
    for body in (b"<", b"<x/>", bomb, b"\xff\xfe", b"<a>" * 5000, b"x" * 70000):
        assert soap(asked, body=body).findtext(".//faultcode").startswith("soap:Client")
    assert log(asked) == []


def test_the_description_is_the_pinned_one_and_names_every_query() -> None:
    root = etree.fromstring(xroad_provider.wsdl())
    named = {o.get("name") for o in root.iter("{http://schemas.xmlsoap.org/wsdl/}operation")}
    assert named == set(queries.QUERIES) == set(queries.INPUTS)
    assert Path(query.__file__).with_name("queries.wsdl").read_bytes() == xroad_provider.wsdl()


# The exchange's own schemas, as far as the description uses them.
EXCHANGE = {
    XRD: f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:id="{ID}" targetNamespace="{XRD}" elementFormDefault="qualified">
<xs:import namespace="{ID}" schemaLocation="{ID}"/>
<xs:element name="client" type="id:Name"/><xs:element name="service" type="id:Name"/><xs:element name="id" type="xs:string"/>
<xs:element name="userId" type="xs:string"/><xs:element name="protocolVersion" type="xs:string"/></xs:schema>""",
    ID: f"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{ID}" elementFormDefault="qualified">
<xs:attribute name="objectType" type="xs:string"/>
<xs:complexType name="Name"><xs:sequence>
<xs:element name="xRoadInstance" type="xs:string"/><xs:element name="memberClass" type="xs:string"/><xs:element name="memberCode" type="xs:string"/>
<xs:element name="subsystemCode" type="xs:string" minOccurs="0"/><xs:element name="serviceCode" type="xs:string" minOccurs="0"/>
<xs:element name="serviceVersion" type="xs:string" minOccurs="0"/></xs:sequence>
<xs:attribute ref="o:objectType" xmlns:o="{ID}"/></xs:complexType></xs:schema>""",
}


def test_whoever_builds_a_client_from_the_description_can_ask(asked: Any) -> None:
    class Wire(Transport):
        def load(self, url: str) -> bytes:
            return EXCHANGE[url].encode() if url in EXCHANGE else xroad_provider.wsdl()

        def post(self, address: str, message: bytes, headers: dict[str, str]) -> Any:
            with asked.client("key-of-department") as c:
                return c.post("/xroad/v1/soap", content=message, headers=headers)

    made = Client("queries.wsdl", transport=Wire())
    member = {"xRoadInstance": "VN", "memberClass": "GOV"}
    headers = {
        "client": member | {"memberCode": "000.00.00.G04", "subsystemCode": "hocba", "objectType": "SUBSYSTEM"},
        "service": member | {"memberCode": "000.00.00.H24", "subsystemCode": "lienthong", "serviceCode": "enrolment", "objectType": "SERVICE"},
        "id": "4894e35d", "userId": "VN0123", "protocolVersion": "4.0",
    }  # fmt: skip
    answer = made.service.enrolment(
        purpose=WHY["purpose"], learner_code="QQ00001", birth_date=asked.born, _soapheaders=headers
    )
    assert answer.body.enrolled is True and answer.body.school_code == S1
    assert answer.header.userId == "VN0123" and answer.header.client.subsystemCode == "hocba"


def test_grants_change_and_end_with_a_line_in_the_journal(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led:
            await queries.grant(led.core, "an", AGENCY, "enrolment", EVERYWHERE)
            await queries.grant(led.core, "an", AGENCY, "enrolment", Scope("school", S1))
            assert await queries.granted(led.core, AGENCY, "enrolment") == Scope("school", S1)
            assert await queries.granted(led.core, AGENCY, "filing-progress") is None
            assert await queries.withdraw(led.core, "an", AGENCY, "enrolment")
            assert not await queries.withdraw(led.core, "an", AGENCY, "enrolment")
            assert await queries.grants(led.core) == []
            kinds = [r["kind"] for r in await led.rows("SELECT kind FROM journal ORDER BY at")]
            assert kinds == ["query_granted", "query_granted", "query_withdrawn"]

    asyncio.run(go())
