"""A small city of gates against a real broker, the bridge and a real ledger; and a proof that can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.transports.mqtt import MqttClient, MqttSettings
from hub.kernel.ledger import intake, parties
from hub.simulate import gates_asked
from hub.simulate import gates_fleet as fleet
from hub.simulate.gates import Crowd, Profile
from hub.simulate.gates_books import Books, prove
from hub.simulate.gates_words import LISTED, MQTT
from hub.simulate.prepare import NotOurs
from hub.worker.bridge import Bridge
from hub.worker.catchup import CatchUp
from hub.worker.gates import families
from tests.brokers import broker, needs_broker

pytestmark = needs_broker
Opening = Callable[[], AbstractAsyncContextManager[Any]]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with broker(tmp_path, "max_inflight_messages 4000") as made:
        yield made.port


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


@asynccontextmanager
async def asking(stage: Any, networks: list[str]) -> AsyncIterator[None]:
    """A worker's own asking; every gate is due again a moment after it was read. It ends between two rounds: one cut off
    would leave its lease behind."""
    catch_up, ended = CatchUp(stage.core, stage.keys, networks), asyncio.Event()

    async def go() -> None:
        while not ended.is_set():
            await catch_up.work(10)
            await asyncio.sleep(0.3)
            await stage.owner.execute(
                "UPDATE gate_lists SET due_at = clock_timestamp() WHERE until IS NULL AND faults = 0"
            )

    running = asyncio.create_task(go())
    try:
        yield
    finally:
        ended.set()
        await asyncio.wait_for(running, 30)


def test_what_stands_in_the_lists_of_a_city_is_stored_once_or_said_to_be_lost(ledger: Opening, tmp_path: Path) -> None:
    async def go() -> None:
        async with ledger() as stage:
            core, since = stage.core, datetime.now(UTC)
            specs = [s for s in fleet.specs(400) if s.family in LISTED]
            await fleet.register(core, stage.keys, specs)
            schools = [s.code for s in fleet.schools()]
            crowd = Crowd(specs, ("127.0.0.1", 9), ("127.0.0.1", 9), tmp_path / "books.tsv", {})
            await crowd.open()
            await gates_asked.ask(core, stage.keys, specs, crowd.lists.address)
            async with asking(stage, ["127.0.0.0/8"]):
                live = await crowd.live(200, 2.0)
                reading = await gates_asked.read(core, crowd.lists.last, 60)
            assert live.sent == live.acknowledged == 0 and live.listed > 250 and len(specs) == 8
            assert (reading.gates, reading.behind, reading.faults) == (8, [], {})
            assert sum(len(g.store.asked) for g in crowd.listed) > 8, "lists were read while people passed"

            crowd.listed[0].send(0.0)
            late = await gates_asked.read(core, crowd.lists.last, 1.0)
            assert late.behind == [crowd.listed[0].spec.device], "nobody asked again"
            async with asking(stage, ["127.0.0.0/8"]):
                assert (await gates_asked.read(core, crowd.lists.last, 60)).behind == []
            await gates_asked.ask_no_more(core, specs)
            await crowd.close()

            proof = await prove(core, crowd.books, [], schools, since)
            assert proof.holds and proof.acknowledged == 0 and proof.stored == proof.listed == live.listed + 1
            assert -0.1 < proof.listed_p50_s <= proof.listed_oldest_s < 60

            await stage.owner.execute(
                "DELETE FROM records WHERE id = (SELECT min(id) FROM records WHERE type = 'checkin')"
            )
            broken = await prove(core, crowd.books, [], schools, since)
            assert (broken.lost, broken.doubled, broken.strange) == (1, 0, 0) and len(broken.examples) == 1

            # A later run begins anew with each list, wherever the one before left it.
            await gates_asked.ask(core, stage.keys, specs, "http://127.0.0.1:9")
            await gates_asked.ask(core, stage.keys, specs[:1], "http://127.0.0.1:9")
            assert await stage.value("SELECT array_agg(device) FROM gate_lists") == [specs[0].device]
            await gates_asked.ask(core, stage.keys, specs, "http://127.0.0.1:9")
            assert await stage.value("SELECT count(*) FROM gate_lists WHERE done_to >= $1", since) == len(specs)
            async with asking(stage, []):
                refused = await gates_asked.read(core, dict.fromkeys((s.device for s in specs), datetime.now(UTC)), 60)
            assert len(refused.behind) == len(refused.faults) == len(specs) and refused.waited_s < 60
            assert all("not allowed" in said for said in refused.faults.values())
            await gates_asked.ask_no_more(core, specs)
            assert await stage.value("SELECT count(*) FROM gate_lists") == 0

    asyncio.run(go())


def test_books_count_an_event_acknowledged_twice_against_the_hub(tmp_path: Path) -> None:
    books = Books(tmp_path / "books.tsv")
    (spec,) = fleet.specs(1)
    event = MQTT["face_mqtt"].event(spec, 1, 1, 0.0, 0.0, False, "")
    books.acked(spec, event)
    books.acked(spec, event)
    books.close()
    assert books.acknowledged == 2 and len(set(books.path.read_text().splitlines())) == 1
