"""Marked images through every door; then the marks are searched in everything that is written down."""

from __future__ import annotations

import asyncio
import base64
import binascii
import gzip
import io
import json
import random
import re
import signal
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import openpyxl
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.embedded.postgres import ADMIN
from hub.kernel.ledger import gates as registry
from hub.kernel.ledger import intake, parties
from hub.worker.bridge import Bridge, BridgeOptions
from hub.worker.gate_retained import clearing
from hub.worker.gates import families
from tests.scenario.firewall.conftest import SCHOOL, saved

SIGN = b"anh-mat-tre-em-"
"""What every mark begins with: fifteen bytes, so that base64 of it is telling at every alignment."""
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def traces() -> list[bytes]:
    """How the sign looks raw, in base64 at its three alignments, and in hex."""
    found = [
        SIGN,
        SIGN.hex().encode(),
        SIGN.hex().upper().encode(),
        SIGN.hex(" ").encode(),
        SIGN.decode().encode("utf-16-le"),
    ]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + SIGN + b"\0" * 3)
        found.append(text[4 if before else 0 : 4 * ((before + len(SIGN)) // 3)])
    return found


class Marks:
    """Images, each with a mark of its own and the place it was sent to."""

    def __init__(self) -> None:
        self.places: list[str] = []

    def image(self, place: str, size: int = 3000) -> bytes:
        mark = SIGN + f"{len(self.places):05d}".encode()
        self.places.append(place)
        noise = random.Random(place).randbytes(size)
        body = b"".join(mark + noise[at : at + 37] for at in range(0, size, 37))
        return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + body + b"\xff\xd9"

    def bodies(self, door: str) -> Iterator[bytes]:
        """An image in every shape a sender may give it."""

        def b64(name: str, size: int = 3000) -> str:
            return base64.b64encode(self.image(f"{door}: {name}", size)).decode()

        def lines(text: str, width: int, end: str) -> str:
            return end.join(text[i : i + width] for i in range(0, len(text), width))

        yield self.image(f"{door}: raw")
        yield self.image(f"{door}: truncated")[:700]
        yield b"%PDF-1.7\n" + self.image(f"{door}: in a document")
        yield b"PK\x03\x04" + b64("in an archive, base64").encode()
        yield b64("base64 alone").encode()
        yield lines(b64("base64 in lines"), 76, "\r\n").encode()
        yield lines(b64("base64 in short lines"), 60, "\n").encode()
        yield self.image(f"{door}: hex").hex().encode()
        yield self.image(f"{door}: hex dump").hex(" ").encode()
        yield gzip.compress(self.image(f"{door}: gzip"))
        yield json.dumps({"pic": b64("field"), "id": "1", "seq": 1, "time": 1}).encode()
        yield json.dumps({"id": "1", "unexpected": {"deep": [{"x": b64("unexpected field")}]}}).encode()
        yield json.dumps({"id": b64("id"), "person": b64("person"), "info": {"RecordID": b64("RecordID")}}).encode()
        yield json.dumps({"info": {"pic": "data:image/jpeg;base64," + b64("data URI"), "facesluiceId": "F1"}}).encode()
        yield json.dumps({"x": lines(b64("lines in JSON"), 76, "\r\n")}).encode()
        yield json.dumps({"x": base64.urlsafe_b64encode(self.image(f"{door}: URL-safe")).decode()}).encode()
        yield json.dumps({b64("key"): 1}).encode()
        yield json.dumps({"x": json.dumps({"y": json.dumps({"z": b64("JSON in JSON in JSON")})})}).encode()
        yield (
            json.dumps({"order": "JVBERi0xLjQK" + b64("document in base64")}).encode()
            if door not in ("push", "callback")
            else b"{}"
        )
        yield (json.dumps({"a": b64("large", 400_000)})).encode()
        yield b'{"info":{"pic":"data:image/jpeg;base64,' + b64("broken JSON").encode()
        yield ('{"a":"' + b64("escaped").replace("/", "\\/") + '"}').encode()
        yield json.dumps({"pictureURL": f"http://u:p@10.0.0.9/{SIGN.decode()}/{len(self.places)}.jpg"}).encode()
        yield json.dumps({"pic": b64("wide")}).encode("utf-16")
        yield f"<EventNotificationAlert><picture>{b64('XML')}</picture></EventNotificationAlert>".encode()
        yield f"<a><![CDATA[{lines(b64('CDATA'), 76, chr(10))}]]></a>".encode()
        yield f"HS1\t2026-11-20 07:00:02\t0\t15\t{b64('tabs')}\n".encode()
        yield f"id=7&pic={b64('form')}&x=1".encode()
        yield (
            b'--x\r\nContent-Disposition: form-data; name="p"\r\n\r\n' + self.image(f"{door}: part") + b"\r\n--x--\r\n"
        )
        yield b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + self.image(f"{door}: typed part") + b"\r\n--x--\r\n"
        yield b'--x\r\n\r\n{"a":1}\r\n--x\r\n\r\n' + self.image(f"{door}: second part, cut")[:1500]
        yield b"<html><body>500 " + b64("error page").encode() + b"</body></html>"
        name = base64.b64encode(self.image(f"{door}: file name")).decode()[:900]
        yield f'--x\r\nContent-Disposition: form-data; name="p"; filename="{name}"\r\n\r\n{{}}\r\n--x--\r\n'.encode()


def book(marks: Marks, door: str) -> bytes:
    """A workbook with images wherever one can be put."""
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    sheet.append(
        ["Mã lớp", "Mã học sinh", "Họ tên", "Ngày sinh (dd/mm/yyyy)", "Giới tính", "Dân tộc", "Trạng thái HS", "Ảnh"]
    )
    cell = base64.b64encode(marks.image(f"{door}: cell")).decode()
    sheet.append(["6A1", "WA1", "Nguyễn Văn Mẫu", "05/03/2014", "Nam", "Kinh", "Đang học", cell])
    out = io.BytesIO()
    made.save(out)
    text = base64.b64encode(marks.image(f"{door}: comments of the parts")).decode()
    changed = io.BytesIO()
    with zipfile.ZipFile(out) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith((".xml", ".rels")):
                data = data.replace(b"?>", f"?><!--{text}-->".encode(), 1) if b"?>" in data[:200] else data
                if b"?>" not in data[:200]:
                    data = f"<!--{text}-->".encode() + data
            new.writestr(name, data)
        new.writestr("xl/media/image1.jpeg", marks.image(f"{door}: media"))
        new.writestr(f"xl/media/{text[:200]}.bin", marks.image(f"{door}: name of a part"))
    return changed.getvalue()


async def over_http(url: str, marks: Marks) -> set[int]:
    statuses: set[int] = set()
    gates = {
        "zkteco": "/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG",
        "zkteco photo": "/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTPHOTO",
        "zkteco result": "/gates/z1-secret/iclock/devicecmd?SN=ZK01",
        "hikvision": "/gates/h1-secret/hikvision",
        "hanet": "/gates/c1-secret/hanet",
    }
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def post(path: str, body: bytes, kind: str = "", **headers: str) -> httpx.Response:
            given = {**({"Content-Type": kind} if kind else {}), **headers}
            reply = await client.post(path, content=body, headers=given)
            statuses.add(reply.status_code)
            return reply

        for door, path in gates.items():
            for body in marks.bodies(door):
                for kind in ("", "multipart/form-data; boundary=x", "application/json"):
                    await post(path, body, kind)
            text = base64.b64encode(marks.image(f"{door}: address and headers")).decode()
            await post(
                f"{path}{'&' if '?' in path else '?'}Stamp={text[:600]}", b"{}", f"text/{text[:300]}", **{"X-Pic": text}
            )
        for kind in ("application/json", "application/x-ndjson", "text/csv", XLSX):
            for body in marks.bodies("push"):
                for path in (f"/v1/messages/learner?school={SCHOOL}", "/v1/messages/filing?bulk=true"):
                    await post(path, body, kind, **{"X-API-Key": "key"})
                await post("/v1/messages/learner", b"[" + body + b"]", "application/json", **{"X-API-Key": "key"})
        line = {"data": {"learner_code": "L1", "full_name": "Nguyễn Văn Mẫu", "school_code": SCHOOL}}
        photo = base64.b64encode(marks.image("push: a learner's photo")).decode()
        mixed = b"\n".join(
            [json.dumps(line).encode(), json.dumps({"data": {**line["data"], "photo": photo}}).encode(), photo.encode()]
            + [photo[i : i + 76].encode() for i in range(0, len(photo), 76)]
        )
        await post("/v1/messages/learner", mixed, "application/x-ndjson", **{"X-API-Key": "key"})
        workbook = book(marks, "workbook")
        reply = await post(f"/v1/messages/learner?school={SCHOOL}", workbook, XLSX, **{"X-API-Key": "key"})
        assert reply.status_code == 202, reply.text
        purpose = base64.b64encode(marks.image("query: purpose")).decode()[:250]
        asked = {"purpose": purpose, "officer": "cb.01", "input": {"learner_code": "L1", "birth_date": purpose[:60]}}
        for name in ("enrolment", purpose[:60]):
            await post(f"/v1/queries/{name}", json.dumps(asked).encode(), "application/json", **{"X-API-Key": "key"})
        for body in marks.bodies("exchange"):
            await post("/xroad/v1/soap", body, "text/xml", **{"X-API-Key": "key", "X-Road-Client": purpose})
            await post("/v1/callbacks/ministry/none", body, "application/json")
    return statuses


async def over_mqtt(core: Any, port: int, marks: Marks, album: Any = None) -> None:
    known = families()
    transport = MqttClient(
        MqttSettings(host="127.0.0.1", port=port, client_id="bridge"),
        subscriptions=[(topic, 1) for family in known.values() for topic in family.subscriptions],
    )

    async def load() -> dict[str, Any]:
        return {r["id"]: dict(r) for r in await parties.devices(core)}

    async def touch(facts: dict[str, dict[str, Any]]) -> None:
        await parties.touch_devices(core, facts)

    work = Bridge(
        transport,
        lambda a: intake.accept(core, a),
        known,
        load,
        core.hasher,
        touch,
        BridgeOptions(clear_s=0.5),
        album=album,
        clear=clearing(transport),
    )
    await transport.start()
    assert await transport.connected(10)
    running = asyncio.create_task(work.run())
    gate = paho.Client(CallbackAPIVersion.VERSION2, client_id="gate")
    gate.connect("127.0.0.1", port)
    gate.loop_start()
    sent = 0

    def say(topic: str, body: bytes, retain: bool = False) -> None:
        nonlocal sent
        sent += 1
        gate.publish(topic, body, 1, retain)

    topics = [f.replace("+/+", f"{SCHOOL}/N1").replace("+", "F1") for fam in known.values() for f in fam.subscriptions]
    topics = [t.replace("/topic/detected/F1", "/topic/detected/HN02") for t in topics]  # a camera of its own
    for topic in topics:
        for body in marks.bodies(f"MQTT {topic}"):
            say(topic, body)
        # Retained as well: a standing subscriber is not told, and the broker keeps it until it is cleared.
        say(
            topic, json.dumps({"pic": base64.b64encode(marks.image(f"MQTT {topic}, retained")).decode()}).encode(), True
        )
    seen = {"msg_id": "1", "camera_id": "HN02", "person_id": "7", "person_type": 0, "date_time": int(time.time())}
    text = base64.b64encode(marks.image("MQTT: a good sighting")).decode()
    say("/topic/detected/HN02", json.dumps({**seen, "detected_image": text, "note": text}).encode())
    long = base64.urlsafe_b64encode(marks.image("MQTT: in the topic")).decode()
    for size in (100, 250, 3000):
        say(f"campus/v1/{SCHOOL}/{long[:size]}/evt", b'{"id":"1","seq":1,"time":1}')
        say(f"mqtt/face/{long[-size:]}/Rec", b'{"info":{}}')
    newer = paho.Client(CallbackAPIVersion.VERSION2, client_id="gate-5", protocol=paho.MQTTv5)
    newer.connect("127.0.0.1", port)
    newer.loop_start()
    apart = [f"campus/v1/{SCHOOL}/N5/{channel}" for channel in ("evt", "state")]  # no picture comes there in a payload
    for number, (topic, retain) in enumerate((t, r) for t in topics + apart for r in (False, True)):
        for pairs in beside(marks, f"MQTT {topic}, user property{', retained' if retain else ''}"):
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = pairs
            event = {"id": f"5-{sent}", "seq": 100 + number, "time": int(time.time() * 1000), "person": "HS1"}
            newer.publish(topic, json.dumps(event), 1, retain, properties)
            sent += 1
    try:
        async with asyncio.timeout(90):
            while transport.stats.acked < sent:
                await asyncio.sleep(0.1)
        await asyncio.sleep(2.5)  # what is told about the gates follows every two seconds
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await transport.stop()
        for each in (gate, newer):
            each.disconnect()
            each.loop_stop()


def beside(marks: Marks, door: str) -> Iterator[list[tuple[str, str]]]:
    """User properties of MQTT 5 with an image in them, as value and as name, short and beyond what is read."""
    for size in (200, 3000, 30_000):
        text = base64.b64encode(marks.image(f"{door}: {size}", size)).decode()
        yield [("traceparent", text)]
        yield [("firmware", "1.2"), ("pic", text)]
        yield [("pic", f"data:image/jpeg;base64,{text}"), ("traceparent", "00-x")]
        yield [(text, "name")]
        yield [*((f"p{n}", "x") for n in range(40)), ("pic", text)]
        yield [("pic", "a"), ("pic", text), ("pictureURL", f"http://10.0.0.9/{SIGN.decode()}.jpg")]


def _opened(text: bytes) -> bytes:
    """What base64 holds, if it is any: where a mark came from."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def search(name: str, data: bytes, marks: Marks) -> list[str]:
    """Where marks were found, each with the door its image came by."""
    found = []
    for trace in traces():
        at = data.find(trace)
        if at >= 0:
            near = data[max(0, at - 300) : at + 200]
            number = re.search(SIGN + rb"(\d{5})", near) or re.search(rb"-(\d{5})", _opened(data[at : at + 32]))
            place = marks.places[int(number.group(1))] if number else "?"
            found.append(f"{name} at {at} ({trace!r}): {place}: {near!r}")
    return found


def files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def leaks_everywhere(
    marks: Marks, postgres: Any, database: str, gateway: Any, redis_server: Any, *folders: Path
) -> list[str]:
    """Every store searched: PostgreSQL's files and Redis', once each wrote everything there; these folders; the log."""

    async def settle() -> None:
        admin = await asyncpg.connect(postgres.dsn(database, ADMIN).url)
        # The search itself must be able to find: something is written on purpose, and must show.
        await admin.execute("CREATE TABLE seen (t text STORAGE EXTERNAL)")
        await admin.execute("INSERT INTO seen VALUES ($1)", "anh-thay-duoc-" * 40)
        await admin.execute("CHECKPOINT")
        await admin.close()

    asyncio.run(settle())
    seen, leaks = False, []
    for path in files(postgres.data):
        data = path.read_bytes()
        seen = seen or b"anh-thay-duoc-anh-thay-duoc-" in data
        leaks += search(f"PostgreSQL {path.relative_to(postgres.data)}", data, marks)
    assert seen, "the search does not find what is there"
    saved(redis_server)
    for folder in (redis_server.folder, *folders):
        for path in files(folder):
            leaks += search(f"{folder.name}/{path.name}", path.read_bytes(), marks)
    ours = [r.getMessage() for r in gateway.log.records if r.name.split(".")[0] not in ("httpx", "httpcore")]
    return leaks + search("log", "\n".join(ours).encode(), marks)


def test_no_mark_of_any_image_is_written_anywhere(
    gateway: Any, broker: Any, redis_server: Any, ledger: Any, postgres: Any, database: str, tmp_path: Path
) -> None:
    marks = Marks()

    async def scenario() -> tuple[int, int, list[str], bytes]:
        async with ledger() as led:
            await gateway.register(led.core, "ZK01", "zkteco", "secret-path", "z1-secret")
            await gateway.register(led.core, "HIK01", "hikvision", "standard", "h1-secret")
            await gateway.register(led.core, "HN01", "hanet", "camera", "c1-secret", "signing")
            await gateway.register(led.core, "HN02", "hanet", "camera", "c2-secret")
            await gateway.register(led.core, "F1", "face_mqtt", "push-ack", "f1-secret")
            await gateway.register(led.core, "N1", "native", "standard", "n1-secret")
            for device in ("F1", "N1", "HN02", "HIK01", "ZK01"):
                await registry.trace(led.core, "test", device, "xem thử đường truyền", timedelta(minutes=30))
            await over_mqtt(led.core, broker.port, marks)
            assert await led.value("SELECT count(*) FROM gate_trace_lines") > 50
            statuses = await over_http(gateway.url, marks)
            assert statuses <= {200, 202, 400, 403, 404, 413, 415, 422, 500}, statuses
            async with httpx.AsyncClient(base_url=gateway.url) as client:
                metrics = (await client.get("/metrics")).content
            # Stored workbooks are packed: a search of the files would miss what is inside.
            inside: list[str] = []
            for row in await led.rows("SELECT id, body FROM messages WHERE body IS NOT NULL"):
                if row["body"][:4] == b"PK\x03\x04":
                    with zipfile.ZipFile(io.BytesIO(row["body"])) as archive:
                        for part in archive.infolist():
                            inside += search(
                                f"workbook {row['id']}", part.filename.encode() + archive.read(part), marks
                            )
            count = await led.value("SELECT count(*) FROM messages")
            removed = await led.value("SELECT count(*) FROM messages WHERE removed IS NOT NULL")
            return count, removed, inside, metrics

    stored, removed, leaks, metrics = asyncio.run(scenario())
    assert stored > 100 and removed > 100, (stored, removed)

    broker.process.send_signal(signal.SIGUSR1)
    leaks += search("metrics", metrics, marks)
    leaks += leaks_everywhere(marks, postgres, database, gateway, redis_server, broker.folder, tmp_path / "data")
    assert not leaks, f"{len(leaks)} leaks:\n" + "\n".join(leak[:900] for leak in leaks[:12])
