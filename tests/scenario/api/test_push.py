"""The REST intake as a school's software meets it."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest

S1, S2 = "31HP0000001", "31HP0000002"


def test_a_single_push_is_acknowledged_with_a_receipt_that_tells_what_became_of_it(
    gateway: Any, make_learner: Any
) -> None:
    with gateway.client("key-of-school-1") as c:
        reply = c.post("/v1/messages/learner", json=make_learner("AA1"))
        assert reply.status_code == 202, reply.text
        code = reply.json()["receipt"]
        assert reply.headers["location"] == f"/v1/receipts/{code}" and len(code) == 19
        receipt = c.get(f"/v1/receipts/{code.lower().replace('-', ' ')}").json()
        assert receipt["items"] == 1 and receipt["rejected"] == 0
        (record,) = receipt["records"]
        assert (record["key"], record["status"], record["version"]) == ("AA1", "accepted", 1)
        assert [(d["connector"], d["state"]) for d in record["deliveries"]] == [("ministry", "ready")]


def test_twelve_faulty_of_four_hundred(gateway: Any, make_learner: Any) -> None:
    items = [make_learner(f"BB{n}") for n in range(400)]
    for n in range(0, 360, 30):
        items[n]["data"]["birth_date"] = "30/02/2014"
    with gateway.client("key-of-school-1") as c:
        reply = c.post("/v1/messages/learner", json=items)
        assert reply.status_code == 202
        body = reply.json()
        assert (body["records"], body["rejected"]) == (388, 12)
        assert [e["pointer"] for e in body["rejects"]] == [f"/{n}/data/birth_date" for n in range(0, 360, 30)]
        assert all(e["vi"] and e["en"] for e in body["rejects"])
        receipt = c.get(f"/v1/receipts/{body['receipt']}?limit=1000").json()
        assert len(receipt["records"]) == 388 and len(receipt["rejects"]) == 12 and receipt["complete"]
        assert len(receipt["messages"]) == 4, "in chunks, one message each"


def test_an_interrupted_upload_goes_on_where_it_stopped(gateway: Any, make_learner: Any) -> None:
    lines = [json.dumps(make_learner(f"CC{n}")) for n in range(250)]
    with gateway.client(
        "key-of-school-1", **{"Content-Type": "application/x-ndjson", "Idempotency-Key": "roster-1"}
    ) as c:
        # The first two chunks arrive, then the line breaks.
        first = c.post("/v1/messages/learner", content="\n".join(lines[:200]))
        assert first.status_code == 202
        whole = c.post("/v1/messages/learner", content="\n".join(lines))
        assert whole.status_code == 202 and whole.json()["receipt"] == first.json()["receipt"]
        receipt = c.get(f"/v1/receipts/{whole.json()['receipt']}?limit=1000").json()
        assert len(receipt["records"]) == 250 and {r["version"] for r in receipt["records"]} == {1}
        other = c.post("/v1/messages/learner", content="\n".join([lines[1], *lines[1:]]))
        assert other.status_code == 422 and other.json()["code"] == "key_reused"
        # What stands behind a chunk that is not taken is not taken either, however much of it was ready.
        more = [json.dumps(make_learner(f"CC{n}")) for n in range(250, 500)]
        other = c.post("/v1/messages/learner", content="\n".join([*lines[:100], lines[1], *lines[101:], *more]))
        assert other.status_code == 422 and other.json()["chunk"] == 1
        receipt = c.get(f"/v1/receipts/{whole.json()['receipt']}?limit=1000").json()
        assert len(receipt["records"]) == 250 and len(receipt["messages"]) == 3


def test_an_entity_in_several_chunks_of_an_upload_has_its_versions_in_their_order(
    gateway: Any, make_learner: Any
) -> None:
    items = [make_learner(f"OO{n}") for n in range(400)]
    for n in range(0, 400, 50):
        items[n] = make_learner("OO0", full_name=f"Tên thứ {n}")
    with gateway.client("key-of-school-1", **{"Content-Type": "application/x-ndjson"}) as c:
        reply = c.post("/v1/messages/learner", content="\n".join(map(json.dumps, items)))
        assert reply.status_code == 202, reply.text
        receipt = c.get(f"/v1/receipts/{reply.json()['receipt']}?limit=1000").json()
    versions = {int(r["pointer"][1:]): r["version"] for r in receipt["records"] if r["key"] == "OO0"}
    assert versions == {n: 1 + n // 50 for n in range(0, 400, 50)}


def test_an_idempotency_key(gateway: Any, make_learner: Any) -> None:
    with gateway.client("key-of-school-1", **{"Idempotency-Key": "one"}) as c:
        first, second = (c.post("/v1/messages/learner", json=make_learner("DD1")) for _ in range(2))
        assert first.json()["receipt"] == second.json()["receipt"]
        assert "idempotent-replayed" not in first.headers and second.headers["idempotent-replayed"] == "true"
        third = c.post("/v1/messages/learner", json=make_learner("DD2"))
        assert third.status_code == 422 and third.headers["content-type"] == "application/problem+json"


def test_a_refused_record_sent_again_is_refused_again(gateway: Any, make_learner: Any) -> None:
    with gateway.client("key-of-school-1", **{"Idempotency-Key": "bad"}) as c:
        bad = make_learner("DD9", "31HP0000009")
        first, second = (c.post("/v1/messages/learner", json=bad) for _ in range(2))
        assert first.status_code == second.status_code == 422
        assert first.json()["errors"] == second.json()["errors"] and first.json()["receipt"] == second.json()["receipt"]


def test_many_at_once_each_get_their_own_answer(gateway: Any, make_learner: Any) -> None:
    seen: dict[str, str] = {}

    def push(n: int) -> None:
        with gateway.client("key-of-school-1") as c:
            for k in range(10):
                code = c.post("/v1/messages/learner", json=make_learner(f"EE{n}-{k}")).json()["receipt"]
                seen[c.get(f"/v1/receipts/{code}").json()["records"][0]["key"]] = code

    threads = [threading.Thread(target=push, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (
        len(seen) == 120
        and len(set(seen.values())) == 120
        and set(seen) == {f"EE{n}-{k}" for n in range(12) for k in range(10)}
    )


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "unreadable"),
        (b"[{},", "application/json", 400, "unreadable"),
        (b"[" * 100_000, "application/json", 400, "unreadable"),
        (b'{"data":' * 50_000, "application/json", 422, "invalid_record"),
        (b"\xff\xfe", "application/json", 400, "unreadable"),
        (b'{"data": 7}', "application/json", 422, "invalid_record"),
        (b'{"data": {"learner_code": 7}}', "application/json", 422, "invalid_record"),
        (b"", "application/x-ndjson", 400, "empty"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "application/xml", 415, "unsupported_media_type"),
        (b" " * 1_100_000, "application/json", 413, "too_large"),
    ],
)
def test_hostile_bodies_get_a_clear_refusal(
    gateway: Any, content: bytes, content_type: str, status: int, code: str
) -> None:
    with gateway.client("key-of-school-1", **{"Content-Type": content_type}) as c:
        reply = c.post("/v1/messages/learner", content=content)
        assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text[:300]
        assert reply.json()["texts"]["vi"] and reply.json()["texts"]["en"]


@pytest.mark.parametrize(
    "item",
    [
        {"data": {"\0photo": "x"}}, {"data": {"\0photo": "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAAMC" * 8}}, {"\0": 1, "data": {}},
        {"data": {"learner_code": "A\0B"}}, {"event": "CANCEL", "data": {"learner_code": "\0\0\0"}},
    ],
)  # fmt: skip
def test_a_character_the_database_cannot_hold_is_the_senders_fault_alone(
    gateway: Any, make_learner: Any, item: dict[str, Any]
) -> None:
    with gateway.client("key-of-school-1") as c:
        reply = c.post("/v1/messages/learner", json=item)
        assert (reply.status_code, reply.json()["code"]) == (422, "invalid_record")
        beside = c.post("/v1/messages/learner", json=[make_learner("NUL1"), item])
        assert beside.status_code == 202 and (beside.json()["records"], beside.json()["rejected"]) == (1, 1)
        receipt = c.get(f"/v1/receipts/{beside.json()['receipt']}").json()
        assert len(receipt["rejects"]) == 1 and "\0" not in str(receipt["rejects"])


def test_a_code_given_is_withdrawn_by_its_key_alone(gateway: Any) -> None:
    place = {"school_code": S1, "temporary_code": "TAM-7"}
    gone = {"event": "CANCEL", "data": place}
    given = {"data": {**place, "temporary_code": "TAM-8", "learner_code": "3190000001"}}
    with gateway.client("key-of-school-1") as c:
        single = c.post("/v1/messages/code_given", json=gone)
        assert (single.status_code, single.json()["records"]) == (202, 1), single.text
        bulk = c.post("/v1/messages/code_given", json=[gone, given])
        assert (bulk.status_code, bulk.json()["records"], bulk.json()["rejected"]) == (202, 2, 0), bulk.text


def test_the_language_of_a_problem(gateway: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        vi = c.post("/v1/messages/unicorn", json={}).json()
        en = c.post("/v1/messages/unicorn", json={}, headers={"Accept-Language": "en"}).json()
        assert vi["title"] == "Không tìm thấy" and en["title"] == "Not found" and vi["texts"] == en["texts"]


def test_an_image_in_a_push_is_taken_out_before_it_is_stored(gateway: Any, make_learner: Any, ledger: Any) -> None:
    import asyncio

    mark = b"\xff\xd8\xff\xe0MARK-7f3a" + bytes(range(256)) * 20
    picture = "data:image/jpeg;base64," + base64.b64encode(mark).decode()
    with gateway.client("key-of-school-1") as c:
        item = make_learner("FF1")
        item["data"]["photo"] = picture
        assert c.post("/v1/messages/learner", json=item).status_code == 422

    async def look() -> None:
        async with ledger() as led:
            body = await led.value("SELECT body FROM messages")
            assert base64.b64encode(mark)[:40] not in body and b"biometric-removed" in body
            assert await led.value("SELECT removed->0->>'pointer' FROM messages") == "/data/photo"

    asyncio.run(look())


def test_oauth2_client_credentials(gateway: Any, make_learner: Any) -> None:
    with gateway.client() as c:
        form = {"grant_type": "client_credentials", "client_id": "school-1", "client_secret": "secret-of-school-1"}
        token = c.post("/oauth/token", data=form).json()["access_token"]
        assert (
            c.post(
                "/v1/messages/learner", json=make_learner("GG1"), headers={"Authorization": f"Bearer {token}"}
            ).status_code
            == 202
        )
        assert c.post("/oauth/token", data=form | {"client_secret": "wrong"}).status_code == 401
        assert (
            c.post(
                "/oauth/token", data={"grant_type": "client_credentials"}, auth=("school-1", "secret-of-school-1")
            ).status_code
            == 200
        )
        for headers in (
            {},
            {"Authorization": "Bearer x.y.z"},
            {"X-API-Key": "nothing"},
            {"Authorization": f"Bearer {token}x"},
        ):
            refused = c.post("/v1/messages/learner", json=make_learner("GG2"), headers=headers)
            assert refused.status_code == 401 and refused.headers["content-type"] == "application/problem+json"


def test_metrics_and_health(gateway: Any, make_learner: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        c.post("/v1/messages/learner", json=make_learner("HH1"))
        assert c.get("/healthz").text == "ok\n"
        text = c.get("/metrics").text
        assert (
            'lt_deliveries{connector="ministry",state="ready"}' in text
            and 'lt_account_difference{what="records"} 0.0' in text
        )
        assert c.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 401
