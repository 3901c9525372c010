"""The doors for the portal: callbacks signed and told once, documents handed out by signed addresses, control calls."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
import uuid
from typing import Any

import orjson
import pytest

from adapters.public_service.simulator import Simulator as Portal
from hub.api import files
from hub.api.callbacks import callback_secrets, signature
from hub.api.control import control_token
from hub.kernel.file_tokens import token_of
from hub.kernel.ledger.operations import add_connector

N = "000.00.12.H24-261122-0001"
S1, S2 = "31HP0000001", "31HP0000002"
PDF = b"%PDF-1.7\n" + b"0123456789abcdef" * 40_000 + b"\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"


@pytest.fixture
def portal(gateway: Any, ledger: Any) -> Any:
    """The gateway with the portal's connector, and a look into the database."""

    async def prepare() -> int:
        async with ledger() as led:
            settings = {
                "name": "public_service", "system": "public_service", "transport": {"kind": "rest", "base_url": "http://127.0.0.1:9"},
                "auth": {"scheme": "portal_session", "login_url": "http://127.0.0.1:9/mapi/login", "username": "hub"},
                "adapter": {"agency": "000.00.12.H24"},
            }  # fmt: skip
            number = await add_connector(
                led.core, gateway.keys, "test", "public_service", "public_service", settings, {"password": "x"}
            )
            assert number is not None
            return number

    gateway.connector = asyncio.run(prepare())

    def look(text: str) -> list[Any]:
        async def ask() -> list[Any]:
            async with ledger() as led:
                return list(await led.rows(text))

        return asyncio.run(ask())

    gateway.look = look
    return gateway


def event(name: str, kind: str = "THAYDOI", **more: Any) -> dict[str, Any]:
    return {"MaSuKien": name, "SuKien": kind, "MaHoSo": N, "TrangThai": "4", "ThoiGian": "20261123083000"} | more


def tell(
    portal: Any,
    *events: Any,
    stamp: int | None = None,
    key: str | None = None,
    path: str | None = None,
    name: str = "public_service",
) -> Any:
    body = orjson.dumps({"data": list(events)})
    secret, own = callback_secrets(portal.keys, name)
    at = str(int(time.time()) if stamp is None else stamp)
    headers = {"X-Timestamp": at, "X-Signature": signature(key or own, at, body), "Content-Type": "application/json"}
    with portal.client() as client:
        return client.post(f"/v1/callbacks/{name}/{path or secret}", content=body, headers=headers)


def push(
    portal: Any, kind: str, data: dict[str, Any], key: str = "key-of-school-1", at: str = "2026-11-20T09:00:00+07:00"
) -> Any:
    with portal.client(key) as client:
        return client.post(f"/v1/messages/{kind}", json={"updated_at": at, "data": data})


def a_filing(**data: Any) -> dict[str, Any]:
    return {
        "file_number": N, "procedure_code": "2.002481", "procedure_name": "Chuyển trường", "applicant": {"kind": "1", "name": "Trần Thị Ví Dụ"},
        "submitted_at": "2026-11-20T08:00:00+07:00", "status": "2", "content": "Xin chuyển trường", "agency": "Sở (thử)", "school_code": S1,
    } | data  # fmt: skip


def test_events_are_taken_once_and_never_by_strangers(portal: Any) -> None:
    assert push(portal, "filing", a_filing()).status_code == 202
    told = tell(
        portal,
        event("E-1"),
        event("E-2", "THANHTOAN", SoTien="20000", ThoiGian="20261123090000"),
        event("E-3", "LA"),
        "rác",
    )
    assert told.status_code == 200, told.text
    assert told.json() == {"error_code": 0, "taken": 2, "refused": 2}
    (row,) = portal.look("SELECT state, paid, said_by FROM filings")
    assert tuple(row.values()) == (4, 20000, "portal")
    # Again, with a later time, in another company: known events are told apart from the new one.
    again = tell(
        portal,
        event("E-2", "THANHTOAN", SoTien="20000", ThoiGian="20261123090000"),
        event("E-4", TrangThai="9", ThoiGian="20261123100000"),
    )
    assert again.json()["taken"] == 2
    (row,) = portal.look("SELECT state, paid FROM filings")
    assert tuple(row.values()) == (9, 20000)
    (count,) = portal.look(
        "SELECT count(*) AS n, count(DISTINCT school) AS s FROM records WHERE type = 'filing_progress'"
    )
    assert (count["n"], count["s"]) == (3, 1)

    assert tell(portal, event("E-9"), key="00" * 32).status_code == 401
    assert tell(portal, event("E-9"), stamp=int(time.time()) - 3600).status_code == 401
    assert tell(portal, event("E-9"), path="0" * 40).status_code == 404
    assert tell(portal, event("E-9"), name="ministry").status_code == 404, "a connector that takes no callbacks"
    assert tell(portal, event("E-9"), name="nobody").status_code == 404
    assert portal.look("SELECT count(*) AS n FROM records WHERE type = 'filing_progress'")[0]["n"] == 3


def test_an_event_whose_id_is_known_with_another_content_is_refused_and_kept_for_a_person(portal: Any) -> None:
    assert push(portal, "filing", a_filing()).status_code == 202
    assert tell(portal, event("E-1")).json() == {"error_code": 0, "taken": 1, "refused": 0}
    other = event("E-1", TrangThai="9", ThoiGian="20261123100000")
    for _ in range(2):
        assert tell(portal, other, event("E-1")).json() == {"error_code": 0, "taken": 1, "refused": 1}
    (row,) = portal.look("SELECT state FROM filings")
    assert row["state"] == 4, "what came first stands"
    (kept,) = portal.look(
        "SELECT m.body, j.text FROM rejects j JOIN messages m ON m.id = j.message WHERE j.code = 'event_reused'"
    )
    assert b"20261123100000" in bytes(kept["body"]) and "Mã sự kiện" in kept["text"]["vi"]


def test_events_of_unknown_filings_are_not_lost(portal: Any) -> None:
    assert tell(portal, event("E-1")).json()["taken"] == 1
    assert (
        portal.look("SELECT number, reason FROM filing_inbox WHERE closed_at IS NULL")[0]["reason"] == "unknown_filing"
    )
    assert push(portal, "filing", a_filing()).status_code == 202
    assert portal.look("SELECT state FROM filings")[0]["state"] == 4
    assert portal.look("SELECT resolution FROM filing_inbox")[0]["resolution"] == "followed"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"\xff\xfe", b'{"data": []}', b'{"data": {}}', b"[" * 3000, b'{"data": [{"MaHoSo": "\\u0000"}]}'],
)
def test_hostile_callbacks_are_kept_as_invalid(portal: Any, body: bytes) -> None:
    secret, key = callback_secrets(portal.keys, "public_service")
    at = str(int(time.time()))
    with portal.client() as client:
        headers = {"X-Timestamp": at, "X-Signature": signature(key, at, body)}
        got = client.post(f"/v1/callbacks/public_service/{secret}", content=body, headers=headers)
    assert got.status_code == 200 and got.json() == {"error_code": 0, "taken": 0, "refused": 1}, got.text


def test_a_sender_cannot_speak_for_the_portal(portal: Any) -> None:
    data = {
        "file_number": N, "handler": "Ai đó", "handled_at": "2026-11-21T09:00:00+07:00", "content": "x", "status": "4",
        "said_by": "portal", "event_id": "E-1",
    }  # fmt: skip
    got = push(portal, "filing_progress", data, "key-of-department")
    assert got.status_code == 422
    assert {e["pointer"] for e in got.json()["errors"]} == {"/data/said_by", "/data/event_id"}


def keep(
    portal: Any, body: bytes = PDF, who: str = "key-of-school-1", name: str = "Đơn chuyển trường.pdf", **headers: str
) -> Any:
    with portal.client(who, **headers) as client:
        return client.post("/v1/files", params={"name": name}, content=body)


def fetch(portal: Any, file: str, until: int | None = None, method: str = "GET", **headers: str) -> Any:
    until = int(time.time()) + 60 if until is None else until
    token = token_of(portal.keys.hmac("file-token"), uuid.UUID(file), portal.connector, until)
    with portal.client(None, **headers) as client:
        return client.request(method, f"/v1/files/{token}")


def test_a_document_is_kept_encrypted_and_handed_out_whole_or_in_part(portal: Any) -> None:
    kept = keep(portal)
    assert kept.status_code == 201, kept.text
    file = kept.json()["file"]
    got = fetch(portal, file)
    assert (got.status_code, hashlib.sha256(got.content).digest()) == (200, hashlib.sha256(PDF).digest())
    assert (
        got.headers["content-type"] == "application/pdf"
        and "filename*=UTF-8''%C4%90%C6%A1n" in got.headers["content-disposition"]
    )
    assert got.headers["x-content-type-options"] == "nosniff" and "no-store" in got.headers["cache-control"]
    size = len(PDF)
    for asked, first, last in (
        ("0-9", 0, 9),
        (f"{262140}-{262150}", 262140, 262150),
        ("-5", size - 5, size - 1),
        (f"{size - 3}-", size - 3, size - 1),
    ):
        part = fetch(portal, file, Range=f"bytes={asked}")
        assert (part.status_code, part.content) == (206, PDF[first : last + 1]), asked
        assert part.headers["content-range"] == f"bytes {first}-{last}/{size}"
    assert fetch(portal, file, Range=f"bytes={size}-").status_code == 416
    assert fetch(portal, file, Range="bytes=9-1").status_code == 416
    assert fetch(portal, file, Range="bytes=0-1,5-6").status_code == 200
    head = fetch(portal, file, method="HEAD")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(size))
    assert fetch(portal, file, **{"If-None-Match": got.headers["etag"]}).status_code == 304
    reads = portal.look("SELECT actor, count(*) AS n FROM journal WHERE kind = 'file_read' GROUP BY actor")
    # Under the connector's number until the gateway has read its name.
    assert sum(r["n"] for r in reads) == 6 and all(r["actor"].startswith("connector:") for r in reads)
    pieces = b"".join(bytes(r["data"]) for r in portal.look("SELECT data FROM file_pieces"))
    assert b"0123456789abcdef" not in pieces and b"chuy" not in bytes(portal.look("SELECT name FROM files")[0]["name"])


def test_uploads_that_stand_still_lose_their_place_and_shut_nobody_out(portal: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "_SILENT_S", 1.5)
    host, port = portal.url.removeprefix("http://").split(":")
    head = "POST /v1/files?name=a.pdf HTTP/1.1\r\nHost: hub\r\nX-API-Key: {}\r\nContent-Length: 5000\r\n\r\n%PDF-1.7"
    stalled = [socket.create_connection((host, int(port)), timeout=20) for _ in range(3)]
    try:
        for one in stalled:
            one.sendall(head.format("key-of-school-2").encode())
        time.sleep(0.5)
        # The third was turned away at once, the others hold half of the places: whoever comes now is served.
        assert keep(portal).status_code == 201
        answers = [one.recv(4096).split(b"\r\n", 1)[0] for one in stalled]
        assert sorted(a.split()[1] for a in answers) == [b"408", b"408", b"503"]
        assert keep(portal, who="key-of-school-2", name="b.pdf").status_code == 201
    finally:
        for one in stalled:
            one.close()


def test_a_large_document_does_not_hold_up_the_loop(portal: Any, monkeypatch: Any) -> None:
    """Hashing and sealing take hundreds of milliseconds: they run beside it."""
    here: list[bool] = []
    sealed = type(portal.keys).encrypt

    def encrypt(self: Any, plain: bytes, aad: bytes) -> bytes:
        if len(plain) > 1000:
            here.append(_on_a_loop())
        return sealed(self, plain, aad)

    monkeypatch.setattr(type(portal.keys), "encrypt", encrypt)
    assert keep(portal).status_code == 201
    assert here and not any(here)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_a_line_of_text_is_one(portal: Any) -> None:
    with portal.client("key-of-school-1") as client:
        assert client.post("/v1/files", params={"name": "a.pdf", "school": "31\0"}, content=PDF).status_code == 422


def test_addresses_that_are_not_ours_expired_or_of_nothing(portal: Any) -> None:
    file = keep(portal).json()["file"]
    assert fetch(portal, file, until=int(time.time()) - 1).status_code == 410
    assert fetch(portal, uuid.uuid4().hex).status_code == 404
    with portal.client() as client:
        for token in ("x", "A" * 51, "%00", "ế", "A" * 500):
            assert client.get(f"/v1/files/{token}").status_code == 404, token
        assert client.get("/v1/files").status_code == 405, "nothing is listed"


def test_only_documents_are_kept_and_the_same_upload_once(portal: Any) -> None:
    for body in (b"\xff\xd8\xff\xe0" + b"x" * 500, b"plain", b"", b"%PDF-" + b"\xff\xd8\xff" * 99 + b"%%EOF"):
        assert keep(portal, body).status_code == 415
    picture = orjson.dumps("/9j/4AAQSkZJRgABAQ" + "A" * 3000).decode().strip('"')
    assert keep(portal, f'<?xml version="1.0"?><don><anh>{picture}</anh></don>'.encode()).status_code == 422
    assert keep(portal, b"<?xml version='1.0'?><don><ten>An</ten></don>").json()["content_type"] == "application/xml"
    assert keep(portal, name="///").status_code in (201, 422)
    one, two = keep(portal, **{"Idempotency-Key": "k"}), keep(portal, **{"Idempotency-Key": "k"})
    assert one.json()["file"] == two.json()["file"] and two.headers["idempotent-replayed"] == "true"
    assert keep(portal, who="key-of-school-2", **{"Idempotency-Key": "k"}).json()["file"] != one.json()["file"]


def test_a_filing_names_its_own_documents_only(portal: Any) -> None:
    file = keep(portal).json()["file"]
    paper = {"id": "a1", "name": "Đơn.pdf", "file": file}
    assert push(portal, "filing", a_filing(attachments=[paper])).status_code == 202
    assert portal.look("SELECT linked_at IS NOT NULL AS l FROM files")[0]["l"]
    for other in (uuid.uuid4().hex, keep(portal, who="key-of-school-2").json()["file"]):
        refused = push(portal, "filing", a_filing(attachments=[paper | {"file": other}], content="khác"))
        assert refused.status_code == 422 and refused.json()["errors"][0]["pointer"] == "/data/attachments/0/file"
    bare = push(portal, "filing", a_filing(attachments=[{"id": "a1", "name": "Đơn.pdf"}]))
    assert bare.json()["errors"][0]["pointer"] == "/data/attachments/0/url"


def test_control_calls_pull_and_judge_dates(portal: Any) -> None:
    headers = {"Authorization": f"Bearer {control_token(portal.keys)}"}
    push(portal, "filing", a_filing(due_at="2026-11-20T17:00:00+07:00"))
    with portal.client() as client:
        assert client.post("/control/v1/filings/deadlines").status_code == 401
        seen = client.get("/control/v1/filings/deadlines", params={"at": "2026-11-20T15:00:00"}, headers=headers).json()
        assert seen["counts"]["will_miss"] == 1 and seen["will_miss"][0] | {"agency": ""} == {
            "number": N, "agency": "", "state": "2", "limit": "2026-11-20T17:00:00+07:00", "left_s": 7200, "stuck": None,
        }  # fmt: skip
        for _ in range(2):
            assert client.post("/control/v1/filings/deadlines", headers=headers).json()["counts"]["overdue"] in (0, 1)
        url = "/control/v1/connectors/{}/pull/{}"
        order = {"key": "run-1", "for_s": 5}
        assert client.post(url.format("nobody", "fields"), json=order, headers=headers).status_code == 404
        assert client.post(url.format("public_service", "nothing"), json=order, headers=headers).status_code == 404
        assert client.post(url.format("public_service", "fields"), json={}, headers=headers).status_code == 422
        away = client.post(url.format("public_service", "fields"), json=order, headers=headers).json()
        assert away["done"] is False and away["fault"]["vi"], "an address in the house is not called"


def test_the_simulator_knows_the_lists(portal: Any) -> None:
    assert set(Portal().lists) == {"procedures", "agencies", "fields", "questions"}
