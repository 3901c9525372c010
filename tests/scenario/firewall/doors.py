"""The quieter ways in and out: the console's forms, signed callbacks, lists gates are asked for; evidence packs, a backup."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import re
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from hub.api.callbacks import callback_secrets, signature
from hub.console.site import router as console_router
from hub.embedded.postgres import ADMIN
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import evidence, gate_lists, people
from hub.kernel.ledger.operations import add_connector
from hub.worker.catchup import CatchUp

PAGES = Path(__file__).parents[3] / "hub" / "console" / "pages"


async def console(led: Any, gateway: Any, marks: Any) -> int:
    """Every form of the console with pictures in every field its pages read; how many were sent."""
    names = sorted(
        {
            n
            for p in PAGES.glob("*.py")
            for n in re.findall(r'(?:text|reason)\((?:\w+, )+"(\w+)"', p.read_text(encoding="utf-8"))
        }
        | {"why"}
    )
    assert {"why", "purpose", "reason", "name"} <= set(names)
    password = await people.add_user(led.core, "test", "an", "An", "admin", EVERYWHERE)
    sent = 0
    record = await led.value("SELECT id FROM records WHERE type = 'checkin' LIMIT 1")
    for shape in (0, 1, 2):
        token, _ = await people.sign_in(led.core, "an", password, 600)
        await led.owner.execute("UPDATE users SET must_change = false")
        session = await people.find_session(led.core, token, 600)
        assert session is not None
        cookies = {"lt_session": token, "lt_lang": "en"}
        async with httpx.AsyncClient(base_url=gateway.url, cookies=cookies, timeout=30) as client:
            for route in console_router.routes:
                path, methods = getattr(route, "path", ""), getattr(route, "methods", set())
                if "{" in path:
                    path = path.replace("{gate}", "F1").replace("{record}", str(record)).replace("{name}", "ministry")
                    text = base64.urlsafe_b64encode(marks.image(f"console: path {path}")).decode()
                    path = re.sub(r"\{\w+(:\w+)?\}", "7" if shape else text[:600], path)
                if "POST" in methods and path not in ("/logout", "/password"):
                    fields = {n: _dressed(marks.image(f"console: {path} {n}", 800), shape) for n in names}
                    if shape == 2:
                        fields |= {
                            "why": f"Theo ảnh đính kèm {fields['why']}",
                            "purpose": f"Xem ảnh {fields['purpose']}",
                        }
                    # One that is refused is closed while it still sends.
                    with contextlib.suppress(httpx.TransportError):
                        form = fields | {"csrf": session.csrf}
                        answer = await client.post(path, data=form, headers={"accept": "text/html"})
                        sent += answer.status_code not in (403, 413)
                elif "GET" in methods and not shape and not path.startswith("/static"):
                    text = base64.b64encode(marks.image(f"console: query of {path}")).decode()[:400]
                    # A page that goes on for ever, or one that finds the address too long: sent it was.
                    with contextlib.suppress(httpx.TransportError):
                        await client.get(
                            path, timeout=3, params=dict.fromkeys(("q", "next", "before", "kind", "actor", "key"), text)
                        )
        assert sent > 40 * (shape + 1), f"too few forms of shape {shape} were sent"
    return sent


def _dressed(image: bytes, shape: int) -> str:
    text = base64.b64encode(image).decode()
    if shape == 1:
        return "data:image/jpeg;base64," + text
    return "\n".join(text[i : i + 76] for i in range(0, len(text), 76)) if shape == 2 else text


async def callbacks(led: Any, gateway: Any, marks: Any) -> int:
    """Properly signed callbacks of the portal with every shape; how many were taken in, good or refused."""
    settings = {
        "name": "public_service", "system": "public_service", "transport": {"kind": "rest", "base_url": "http://127.0.0.1:9"},
        "auth": {"scheme": "portal_session", "login_url": "http://127.0.0.1:9/mapi/login", "username": "hub"},
        "adapter": {"agency": "000.00.12.H24"},
    }  # fmt: skip
    await add_connector(led.core, gateway.keys, "test", "public_service", "public_service", settings, {"password": "x"})
    secret, key = callback_secrets(gateway.keys, "public_service")
    taken = 0
    shapes = list(marks.bodies("callback"))
    for number in range(3):
        text = base64.b64encode(marks.image(f"callback: event {number}")).decode()
        event = {"MaSuKien": f"E{number}", "SuKien": "THAYDOI", "MaHoSo": "000.00.12.H24-261122-0001", "TrangThai": "4",
                 "ThoiGian": "20261123083000", ("Anh", "NoiDung", "MaSuKien")[number]: text}  # fmt: skip
        shapes.append(httpx.Request("POST", "http://x", json={"data": [event, text]}).content)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:
        for body in shapes:
            stamp = str(int(time.time()))
            headers = {
                "X-Timestamp": stamp,
                "X-Signature": signature(key, stamp, body),
                "Content-Type": "application/json",
            }
            answer = await client.post(f"/v1/callbacks/public_service/{secret}", content=body, headers=headers)
            assert answer.status_code in (200, 400, 413, 422), answer.text
            taken += answer.status_code == 200
    return taken


@contextlib.contextmanager
def _answering(bodies: list[bytes]) -> Iterator[tuple[str, list[int]]]:
    """A device that gives these bodies in turn, whatever it is asked."""
    given: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = bodies[len(given) % len(bodies)]
            given.append(1)
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if body[:1] in b"{[" else "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", given
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _listed(family: str, text: str, uri: str) -> list[bytes]:
    """Pages as the family writes them, with a picture beside and inside of what is read."""
    at = datetime.now(UTC) - timedelta(minutes=30)
    if family == "dahua":
        epoch = int(at.timestamp())
        lines = f"found=1\r\nrecords[0].UserID=HS7\r\nrecords[0].CreateTime={epoch}\r\nrecords[0].Status=1\r\n"
        return [
            f"{lines}records[0].{name}={value}\r\n".encode()
            for name, value in (("URL", uri), ("Pic", text), ("X", text))
        ]
    if family == "hanet":
        row = {"personID": "7", "personName": "Mẫu", "placeID": 1, "deviceID": "HN01", "checkinTime": int(at.timestamp() * 1000),
               "avatar": uri, "note": text, "title": text}  # fmt: skip
        return [httpx.Request("POST", "http://x", json={"returnCode": 1, "data": [row]}).content]
    info = {"major": 5, "minor": 75, "time": at.isoformat(timespec="seconds"), "employeeNoString": "HS7", "serialNo": 7,
            "pictureURL": uri, "name": text, "FaceData": text}  # fmt: skip
    told = {
        "AcsEvent": {
            "searchID": "1",
            "responseStatusStrg": "OK",
            "numOfMatches": 1,
            "totalMatches": 1,
            "InfoList": [info],
        }
    }
    return [httpx.Request("POST", "http://x", json=told).content]


async def lists(led: Any, marks: Any) -> int:
    """Gates of every family that is asked, answering with pictures in every shape; how many answers were read."""
    answers = 0
    worker = CatchUp(led.core, led.keys, ["127.0.0.0/8"])
    for family, device in (("hikvision", "HIK01"), ("hanet", "HN01"), ("dahua", "DH01")):
        text = base64.b64encode(marks.image(f"list of {family}")).decode()
        bodies = _listed(family, text, "data:image/jpeg;base64," + text) + list(
            marks.device_bodies(f"list of {family}")
        )
        with _answering(bodies) as (address, given):
            settings = {
                "transport": {"kind": "rest", "base_url": address},
                "network": "127.0.0.0/8",
                "place": "1",
                "every_s": 10,
            }
            await gate_lists.put(led.core, "test", device, settings, None, datetime.now(UTC) - timedelta(hours=2))
            for _ in bodies:
                await led.owner.execute("UPDATE gate_lists SET due_at = clock_timestamp(), until = NULL")
                await worker.work(1.0)
            answers += len(given)
        await gate_lists.drop(led.core, "test", device)
    return answers


async def packs(led: Any) -> list[tuple[str, bytes]]:
    """What evidence packs of the records hold, unpacked."""
    found = []
    for row in await led.rows("SELECT id FROM records ORDER BY id LIMIT 40"):
        gathered = await evidence.gather(led.core, row["id"], EVERYWHERE)
        assert gathered is not None
        with zipfile.ZipFile(io.BytesIO(pack(gathered))) as archive:
            for part in archive.infolist():
                found.append((f"evidence of {row['id']}: {part.filename}", archive.read(part)))
    assert len(found) > 20
    return found


def backup(postgres: Any, database: str, *more: str) -> bytes:
    """A logical backup as text."""
    url = postgres.dsn(database, ADMIN).url
    command = [str(postgres._binaries / "bin" / "pg_dump"), "--no-owner", *more, url]
    return subprocess.run(command, check=True, capture_output=True, timeout=60, env={"LC_ALL": "C.UTF-8"}).stdout
