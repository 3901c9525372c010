"""Pictures and malice at the listeners: nothing of a picture is stored, nothing makes the gateway stumble."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

import aiohttp
import yarl

MARK = b"anh-cua-mot-dua-tre"
NOISE = random.Random(3).randbytes(40_000)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"".join(MARK + NOISE[i : i + 60] for i in range(0, 40_000, 60)) + b"\xff\xd9"
B64 = base64.b64encode(JPEG)
BODIES = [
    JPEG,
    JPEG[:700],
    b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n--x--",
    b"--x\r\nContent-Type: application/json\r\n\r\n" + JPEG,
    b'--x\r\n\r\n{"eventType":"heartBeat"}\r\n--x\r\n\r\n' + JPEG[:3000],
    b"--x\n\n" + JPEG + b"\n--x--\n",
    b"--" + JPEG,
    b'{"a":"' + B64 + b'"}',
    b'{"Picture":"' + B64[:9000],
    b'{"data_type":"log","id":"' + B64 + b'","hash":"' + B64 + b'"}',
    b'{"AccessControllerEvent":{"employeeNoString":"' + B64 + b'","majorEventType":5,"subEventType":75}}',
    b"<EventNotificationAlert><x>" + B64 + b"</x></EventNotificationAlert>",
    b"<!DOCTYPE x [<!ENTITY a '" + B64 + b"'>]><x>&a;</x>",
    b"HS1\t2026-11-20 07:00:02\t0\t15\t" + B64 + b"\n" + B64 + b"\n",
    b"HS1\t" + JPEG + b"\t0",
    b"%PDF-1.7\n" + JPEG,
    b"PK\x03\x04" + B64,
    b"\r\n".join(B64[i : i + 76] for i in range(0, 9000, 76)),
    b"GET / HTTP/1.1\r\n\r\n" + B64,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"",
]
ADDRESSES = [
    "gates/h1-secret/hikvision",
    "gates/c1-secret/hanet",
    "gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG&Stamp=%00",
    "gates/z1-secret/iclock/devicecmd?SN=ZK01",
    "gates/z1-secret/iclock/cdata?SN=ZK02&table=ATTLOG",
    "gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTPHOTO",
    "iclock/cdata?SN=ZK01&table=ATTLOG",
]


def test_no_mark_of_a_picture_is_stored(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await gateway.register(here.core, "ZK01", "zkteco", "z1-secret", "secret-path")
            await gateway.register(here.core, "HIK01", "hikvision", "h1-secret", "standard")
            await gateway.register(here.core, "HN01", "hanet", "c1-secret", "camera", signing="signing")
            statuses: set[int] = set()
            async with aiohttp.ClientSession() as session:
                for address in ADDRESSES:
                    for kind in ("", "multipart/form-data; boundary=x", "application/json"):
                        for body in BODIES:
                            url = yarl.URL(f"{gateway.url}/{address}", encoded=True)
                            headers = {"Content-Type": kind} if kind else {}
                            async with session.post(url, data=body, headers=headers) as reply:
                                statuses.add(reply.status)
            assert statuses == {200, 403}
            held = b"".join(
                bytes(r["body"]) for r in await here.rows("SELECT body FROM messages WHERE body IS NOT NULL")
            )
            for table in ("messages", "rejects", "records", "journal", "intake_keys", "device_state"):
                held += "".join(r[0] for r in await here.rows(f"SELECT t::text FROM {table} t")).encode()
            assert len(held) > 5000
            traces = [MARK, *(base64.b64encode(b"\0" * n + MARK)[4:24] for n in range(3)), MARK.hex().encode()]
            for trace in traces:
                assert trace not in held and trace.decode() not in gateway.log.text
            removed = await here.value("SELECT count(*) FROM messages WHERE removed IS NOT NULL")
            assert removed > 15, "what was taken out is on record"

    asyncio.run(scenario())


def test_strange_requests_get_plain_refusals(gateway: Any, stored: Any) -> None:
    async def scenario() -> None:
        async with stored() as here:
            await gateway.register(here.core, "ZK01", "zkteco", "z1-secret", "plain-path")
            wanted = {
                ("GET", "gates/z1-secret/hikvision"): 405,
                ("PUT", "iclock/cdata?SN=ZK01"): 405,
                ("GET", "iclock/cdata"): 403,
                ("GET", "iclock/cdata?SN="): 403,
                ("GET", "iclock/cdata?SN=ZK01%00"): 403,
                ("GET", "iclock/cdata?SN=ZK01&SN=ZK02"): 403,
                ("GET", "iclock/cdata?sn=ZK01"): 200,
                ("GET", "iclock/"): 403,
                ("GET", "iclock/none?SN=ZK01"): 404,
                ("GET", "iclock/%2e%2e/x?SN=ZK01"): 404,
                ("GET", "iclock/cdata?SN=%ff%fe"): 403,
                ("POST", "gates/%00/hikvision"): 403,
                ("POST", "gates/%ff%fe/hanet"): 403,
                ("POST", "gates/" + "x" * 5000 + "/hanet"): 403,
                ("POST", "gates//hanet"): 404,
                ("POST", "gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG"): 200,
            }
            got = {}
            async with aiohttp.ClientSession() as session:
                for method, address in wanted:
                    url = yarl.URL(f"{gateway.url}/{address}", encoded=True)
                    async with session.request(method, url) as reply:
                        got[method, address] = reply.status
            assert got == wanted

    asyncio.run(scenario())
