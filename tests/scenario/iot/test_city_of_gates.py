"""A small city of gates against a real broker, the bridge and a real ledger; and a proof that can fail."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.ledger import intake, parties
from hub.simulate import gates_fleet as fleet
from hub.simulate.gates import Crowd, Profile
from hub.simulate.gates_books import Books, prove
from hub.simulate.gates_words import MQTT
from hub.simulate.prepare import NotOurs
from hub.worker.bridge import Bridge
from hub.worker.gates import families

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
Opening = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {number} 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\nmax_inflight_messages 4000\n"
    )
    assert MOSQUITTO is not None
    child = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", number)) == 0:
                break
        child.poll()
    yield number
    child.terminate()
    child.wait(10)


@asynccontextmanager
async def bridge(core: Any, port: int) -> AsyncIterator[None]:
    known = families()
    client = MqttClient(
        MqttSettings(host="127.0.0.1", port=port, client_id="bridge"),
        subscriptions=[(topic, 1) for family in known.values() for topic in family.subscriptions],
    )

    async def load() -> dict[str, Any]:
        return {r["id"]: dict(r) for r in await parties.devices(core)}

    async def touch(_: dict[str, dict[str, Any]]) -> None:
        return

    work = Bridge(client, lambda a: intake.accept(core, a), known, load, core.hasher, touch)
    await client.start()
    assert await client.connected(10)
    running = asyncio.create_task(work.run())
    try:
        yield
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.stop()


def test_a_city_plays_and_the_proof_finds_what_is_missing(ledger: Opening, port: int, tmp_path: Path) -> None:
    async def go() -> None:
        async with ledger() as stage:
            core, since = stage.core, datetime.now(UTC)
            specs = [s for s in fleet.specs(100)[:60] if s.family in MQTT]
            await fleet.register(core, stage.keys, specs)
            schools = [s.code for s in fleet.schools()]
            profile = Profile(rate=150, stored=300, stored_gates=6, image_bytes=50_000, images_per_s=20, images_s=1)
            async with bridge(core, port):
                crowd = Crowd(specs, ("127.0.0.1", port), ("127.0.0.1", 9), tmp_path / "books.tsv", {})
                await crowd.open()
                live = await crowd.live(150, 1.0)
                flood = await crowd.flood(profile, 30)
                back = await crowd.reconnect(len(specs))
                pictures = await crowd.images(profile)
                waiting = crowd.waiting()
                await crowd.close()
            assert live.acknowledged == live.sent > 100 and 0 < live.p50_ms <= live.p99_ms <= live.worst_ms
            assert flood.released == 300 and flood.acknowledged == flood.sent
            heard = [s for s in specs if not MQTT[s.family].silent]
            assert back.acknowledged == len(heard) < len(specs) and pictures.acknowledged == pictures.sent >= 15
            assert waiting == [] and live.cpu["gates"] > 0

            proof = await prove(core, crowd.books, waiting, schools, since)
            assert proof.holds, proof
            assert proof.acknowledged == proof.stored - proof.silent == crowd.books.acknowledged
            assert proof.silent > 2 and proof.unheard == 0

            # A proof that cannot fail proves nothing.
            await stage.owner.execute(
                "DELETE FROM records WHERE id = (SELECT min(id) FROM records WHERE type = 'checkin')"
            )
            one = "id = (SELECT max(id) FROM records WHERE type = 'checkin')"
            columns = "id + 1, class, message, pointer, type, key || 'x', event, version, updated_at, school, body, content, catalogue, disposition, due"
            names = columns.replace("id + 1", "id").replace("key || 'x'", "key")
            await stage.owner.execute(f"INSERT INTO records ({names}) SELECT {columns} FROM records WHERE {one}")
            await stage.owner.execute(
                "UPDATE records SET body = jsonb_set(body, '{person_code}', '\"ai-do\"') "
                "WHERE id = (SELECT min(id) FROM records WHERE type = 'checkin')"
            )
            broken = await prove(core, crowd.books, waiting, schools, since)
            assert (broken.lost, broken.doubled, broken.strange) == (2, 1, 1) and not broken.holds

            assert await fleet.revoke(core, specs) == len(specs)
            assert await fleet.revoke(core, specs) == 0 and await parties.devices(core) == []
            await fleet.register(core, stage.keys, specs)
            assert len(await parties.devices(core)) == len(specs)

    asyncio.run(go())


def test_a_hub_that_sends_to_a_real_system_is_left_alone(ledger: Opening) -> None:
    async def go() -> None:
        async with ledger() as stage:
            settings = {"transport": {"base_url": "http://127.0.0.1:9"}}
            await stage.connector("ministry", "ministry", settings)
            await fleet.ours_alone(stage.core)
            await stage.connector(
                "portal", "public_service", msgspec.to_builtins({"transport": {"base_url": "https://cong.example.vn"}})
            )
            with pytest.raises(NotOurs):
                await fleet.ours_alone(stage.core)

    asyncio.run(go())


def test_books_count_an_event_acknowledged_twice_against_the_hub(tmp_path: Path) -> None:
    books = Books(tmp_path / "books.tsv")
    (spec,) = fleet.specs(1)
    event = MQTT["face_mqtt"].event(spec, 1, 1, 0.0, 0.0, False, "")
    books.acked(spec, event)
    books.acked(spec, event)
    books.close()
    assert books.acknowledged == 2 and len(set(books.path.read_text().splitlines())) == 1
