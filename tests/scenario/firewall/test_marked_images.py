"""Marked images through every door; then the marks are searched in everything that is written down."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import logging
import signal
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import paho.mqtt.client as paho
import pytest
import redis
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
from tests.scenario.firewall.marks import SEEN, SIGN, XLSX, Marks, book, search


async def over_http(url: str, marks: Marks) -> set[int]:
    statuses: set[int] = set()
    gates = {
        "zkteco": "/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTLOG",
        "zkteco photo": "/gates/z1-secret/iclock/cdata?SN=ZK01&table=ATTPHOTO",
        "zkteco result": "/gates/z1-secret/iclock/devicecmd?SN=ZK01",
        "hikvision": "/gates/h1-secret/hikvision",
        "hanet": "/gates/c1-secret/hanet",
        "face_http": "/gates/f2-secret/face_http",
    }
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:

        async def post(path: str, body: bytes, kind: str = "", **headers: str) -> httpx.Response:
            given = {**({"Content-Type": kind} if kind else {}), **headers}
            reply = await client.post(path, content=body, headers=given)
            statuses.add(reply.status_code)
            return reply

        for door, path in gates.items():
            for body in marks.device_bodies(door):
                for kind in ("", "multipart/form-data; boundary=x", "application/json"):
                    await post(path, body, kind)
            text = base64.b64encode(marks.image(f"{door}: address and headers")).decode()
            await post(
                f"{path}{'&' if '?' in path else '?'}Stamp={text[:600]}", b"{}", f"text/{text[:300]}",
                **{"X-Pic": text, "traceparent": text[:900], "tracestate": marks.address(f"{door}: a trace")},
            )  # fmt: skip
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
        for trace in (photo[:900], marks.address("push: a trace"), f"00-{SIGN.hex()}0a-{SIGN.hex()[:16]}-01"):
            traced = {"X-API-Key": "key", "traceparent": trace, "tracestate": trace, "baggage": f"pic={trace}"}
            await post("/v1/messages/learner", json.dumps(line).encode(), "application/json", **traced)
        workbook = book(marks, "workbook")
        reply = await post(f"/v1/messages/learner?school={SCHOOL}", workbook, XLSX, **{"X-API-Key": "key"})
        assert reply.status_code == 202, reply.text
        purpose = base64.b64encode(marks.image("query: purpose")).decode()[:250]
        asked = {"purpose": purpose, "officer": "cb.01", "input": {"learner_code": "L1", "birth_date": purpose[:60]}}
        for name in ("enrolment", purpose[:60]):
            await post(f"/v1/queries/{name}", json.dumps(asked).encode(), "application/json", **{"X-API-Key": "key"})
            said = {"purpose": purpose, "input": asked["input"]}
            headers = {
                "X-API-Key": "key",
                "X-Road-Client": "VN/GOV/G04/a",
                "X-Road-UserId": "cb.01",
                "X-Road-Id": purpose[:100],
            }
            await post(f"/xroad/v1/rest/{name}", json.dumps(said).encode(), "application/json", **headers)
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
        for body in marks.device_bodies(f"MQTT {topic}"):
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
        yield [("link", marks.address(f"{door}: a link")), ("v", ",".join(map(str, marks.vector(f"{door}: a vector"))))]
        yield [("traceparent", marks.address(f"{door}: a trace"))]


def files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def written(log: Any) -> str:
    """Everything logged but by the test's own client, with tracebacks, as a handler writes it."""
    form = logging.Formatter("%(name)s %(message)s")
    return "\n".join(form.format(r) for r in log.records if r.name.split(".")[0] not in ("httpx", "httpcore"))


def saved_broker(broker: Any) -> None:
    """Have the broker write everything it holds to its folder; what is retained on purpose must be there then."""
    gate = paho.Client(CallbackAPIVersion.VERSION2, client_id="seen")
    gate.connect("127.0.0.1", broker.port)
    gate.loop_start()
    gate.publish("seen/here", SEEN + "broker", 1, True).wait_for_publish(10)
    gate.disconnect()
    gate.loop_stop()
    path, until = broker.folder / "mosquitto.db", time.monotonic() + 15
    while not (path.is_file() and (SEEN + "broker").encode() in path.read_bytes()):
        assert time.monotonic() < until, "the broker's file does not hold what it was given"
        broker.process.send_signal(signal.SIGUSR1)
        time.sleep(0.3)


def leaks_everywhere(
    marks: Marks, postgres: Any, database: str, gateway: Any, redis_server: Any, *folders: Path, broker: Any = None
) -> list[str]:
    """Every store searched: PostgreSQL's files, Redis' and the broker's, once each wrote everything there; these folders; the
    log with its tracebacks. In each something is written on purpose, and must show: the search itself must be able to find."""

    async def settle() -> None:
        admin = await asyncpg.connect(postgres.dsn(database, ADMIN).url)
        await admin.execute("CREATE TABLE seen (t text STORAGE EXTERNAL)")
        await admin.execute("INSERT INTO seen VALUES ($1)", (SEEN + "postgres-") * 40)
        await admin.execute("CHECKPOINT")
        await admin.close()

    asyncio.run(settle())
    client = redis.Redis.from_url(redis_server.url)
    client.set("seen", SEEN + "redis")
    client.close()
    saved(redis_server)
    assert (redis_server.folder / "dump.rdb").is_file()
    if broker is not None:
        saved_broker(broker)
        folders = (broker.folder, *folders)
    logging.getLogger("hub.api").error("seen", exc_info=RuntimeError(SEEN + "log"))

    found: set[str] = set()
    leaks: list[str] = []
    for place in (postgres.data, redis_server.folder, *folders):
        for path in files(place):
            data = path.read_bytes()
            found |= {name for name in ("postgres", "redis", "broker") if (SEEN + name).encode() in data}
            if path.name == "dump.rdb":
                assert (SEEN + "redis").encode() in data
            leaks += search(f"{place.name}/{path.relative_to(place)}", data, marks)
    text = written(gateway.log)
    assert f"RuntimeError: {SEEN}log" in text, "the search does not see what a traceback says"
    assert found == {"postgres", "redis"} | ({"broker"} if broker is not None else set()), (
        "the search does not find what is there"
    )
    return leaks + search("log", text.encode(), marks)


async def quoting(url: str, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that fails before the firewall, and quotes what it failed on."""

    def fail(kind: str, body: bytes) -> Any:
        try:
            raise ValueError(f"cannot read {body!r}")
        except ValueError as error:
            raise RuntimeError(f"no event in {body.decode('latin-1')}") from error

    with monkeypatch.context() as patched:
        patched.setattr("iot.hikvision.decode.unpack", fail)
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            for body in marks.device_bodies("a reader that quotes"):
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.post("/gates/h1-secret/hikvision", content=body)
                    assert answer.status_code in (403, 413, 500, 503), answer.status_code
                    assert not search("answer", answer.content, marks)


def test_no_mark_of_any_image_is_written_anywhere(
    gateway: Any,
    broker: Any,
    redis_server: Any,
    ledger: Any,
    postgres: Any,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = Marks()

    async def scenario() -> tuple[int, int, list[str], bytes]:
        async with ledger() as led:
            await gateway.register(led.core, "ZK01", "zkteco", "secret-path", "z1-secret")
            await gateway.register(led.core, "HIK01", "hikvision", "standard", "h1-secret")
            await gateway.register(led.core, "FH01", "face_http", "standard", "f2-secret")
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
            await quoting(gateway.url, marks, monkeypatch)
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

    leaks += search("metrics", metrics, marks)
    leaks += leaks_everywhere(marks, postgres, database, gateway, redis_server, tmp_path / "data", broker=broker)
    assert written(gateway.log).count("no event in") > 20, "what failed was told, and where"
    assert not leaks, f"{len(leaks)} leaks:\n" + "\n".join(leak[:900] for leak in leaks[:12])
