"""Look-ups over SOAP: the connector and adapter alone, and the whole way through the ledger, against a raw POST of ready bytes."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from typing import Any

from adapters import manifest as manifests
from benchmarks import fill
from benchmarks.delivery import CONCURRENCY, LIMIT_IS, Clients, bodies, counterparty, worked_off
from benchmarks.rig import Figure, Meter, Rig, alternate, short
from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.settings import validate
from hub import lean
from hub.kernel.ports import Call, Outgoing, Receipt, Reply
from hub.worker.parts import PART

MAPPED = {"SoDinhDanh": "031214000001", "HoVaTen": "Nguyễn Văn Mẫu", "NgayThangNamSinh": "20140305", "GioiTinh": "1"}


def population(url: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings and secrets of a connector to the population database's counterparty."""
    settings = {
        "name": "population", "system": "population", "transport": {"kind": "soap", "base_url": url},
        "auth": {"scheme": "population_signed", "user": "bench", "xroad_client": "VN/GOV/BENCH/HUB"},
        "adapter": {"MaDVC": "DVC1", "MaCanBo": "CB1"}, "policy": {"concurrency": CONCURRENCY, "batch_max": 1},
    }  # fmt: skip
    return settings, {"secret": "bench-secret", "api_key": "bench-api-key"}


def _outgoing(count: int) -> list[Outgoing]:
    at = datetime(2026, 9, 5, 1, tzinfo=UTC)
    return [
        Outgoing(delivery=n, record=n, type="learner", key=f"31{n:08d}", event="NEW", version=1, updated_at=at, school=None, body={},
                 mapped=MAPPED | {"SoDinhDanh": f"031214{n % 1_000_000:06d}"})
        for n in range(1, count + 1)
    ]  # fmt: skip


def codec(count: int) -> float:
    """Look-ups a second of the codec alone: render, and read an answer."""
    from benchmarks.counterparty import population as answered

    adapter = manifests.load("population").build({"MaDVC": "DVC1", "MaCanBo": "CB1"})
    asked = _outgoing(count)
    replies = [
        Reply(status=200, body=answered(c.body)[1], headers={"content-type": "text/xml"})
        for c in adapter.render(asked[:1])
    ]
    started = time.perf_counter()
    for one in asked:
        (call,) = adapter.render([one])
        adapter.read(call, replies[0])
    return count / (time.perf_counter() - started)


async def measure(rig: Rig) -> list[Figure]:
    """Two figures against the same bare limits: the target's, codec and client without a ledger, and the whole way, which has none."""
    lean.settle()  # as in a worker: what other measurements left in this process is no part of this one
    lean.seldom()
    await rig.redis()
    other, url = await counterparty(rig, "population")
    count = short(2_000, 20_000)
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
    settings, secrets = population(url)
    adapter = manifests.load("population").build(settings["adapter"])
    cpu: dict[str, float] = {}
    through: dict[str, float] = {}
    clients = Clients(rig, 1)

    async def sent(_n: int) -> float:
        connector = build(validate(settings), secrets, AddressPolicy(["127.0.0.0/8"]))
        waiting = _outgoing(count)
        calls: list[Call] = []
        meter = Meter(**{"adapter and connector": os.getpid(), "counterparty": other.pid})

        async def one() -> None:
            while waiting or calls:
                if not calls:  # some at a time, as a worker
                    calls.extend(adapter.render(waiting[:PART]))
                    del waiting[:PART]
                call = calls.pop()
                (outcome,) = adapter.read(call, await connector.send(call, 10)).outcomes.values()
                assert isinstance(outcome, Receipt), outcome

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CONCURRENCY)))
        rate = count / (time.perf_counter() - started)
        cpu.update(meter.stop())
        await connector.close()
        return rate

    async with rig.stage() as stage:
        number = await stage.connector("population", settings, secrets)
        await fill.ready(stage, number, "learners-to-population", count, "50", personal_number="031214000001")
        whole, used = await worked_off(stage, url, count, other)
        through.update(used)
        path = await bodies(stage, rig.logs)

        async def limit(_n: int) -> float:
            return await clients.limit(url + "/", path, headers)

        await sent(0)  # templates and schema are made at the first question
        value, fastest = await alternate(short(5, 3), sent, limit)
    await other.stop()
    said = f"codec alone (render + read): {codec(count):,.0f}/s; {clients.said(value)}"
    return [
        Figure(path="SOAP look-ups: rendered, signed, sent, parsed, checked, compared", unit="look-ups/s", value=value, bare=fastest,
               bare_is=f"raw POST of ready bytes: {LIMIT_IS}", target="≥ 0.5", met=clients.met(value, 0.5), also=clients.own(),
               cpu=cpu | clients.cpu, note=said),
        Figure(path="SOAP look-ups through the ledger: look-up log before the first byte, verdict kept as a record", unit="look-ups/s", value=whole,
               bare=fastest, bare_is=f"raw POST of ready bytes: {LIMIT_IS}", also=clients.own(), cpu=through | clients.cpu,
               note="the whole way; no target names it"),
    ]  # fmt: skip
