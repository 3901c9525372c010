"""Check-ins over MQTT QoS 1 by a real bridge process: draining a queue at the broker, and live at 3,000 a second."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks import bare, gates_trace
from benchmarks.delivery import ministry
from benchmarks.mqtt_wire import DEVICES
from benchmarks.rig import BRIDGE, GATES, SCHOOL, Figure, Meter, Proc, Rig, Stage, alternate, short
from hub.kernel.ledger import parties
from hub.worker.gates import _CLIENT_ID, families

_RATE = 3_000


async def _devices(stage: Stage) -> None:
    for n in range(DEVICES):
        name = f"BENCH{n:03d}"
        await parties.add_device(
            stage.core, "bench", name, family="native", profile="", title=name, school=SCHOOL, entrance="A", direction="in",
            person_ids="department", zone="", secret=b"-"
        )  # fmt: skip


async def measure(rig: Rig) -> list[Figure]:
    """The drain against its bare limit, then the live tail."""
    await rig.redis()
    port, broker = await rig.mosquitto()
    topics = [topic for family in families().values() for topic in family.subscriptions]
    gates: dict[str, Any] = {"port": port, "user": None, "password": GATES[0].secret}
    hub: dict[str, Any] = {"port": port, "user": BRIDGE.name, "password": BRIDGE.secret, "topics": topics}
    count = short(20_000, 90_000)
    cpu: dict[str, float] = {}
    async with rig.stage() as stage:
        await bare.prepare(stage)
        await stage.connector("ministry", *ministry("http://127.0.0.1:9", 100))
        await _devices(stage)

        def bridge(*argv: str) -> Proc:
            env = stage.env(
                LT_MQTT__HOST="127.0.0.1",
                LT_MQTT__PORT=str(port),
                LT_MQTT__USERNAME=BRIDGE.name,
                LT_MQTT__PASSWORD=BRIDGE.secret,
            )
            return rig.process("bridge", argv or ("-m", "hub.cli", "bridge"), env)

        def plain(library: bool = False) -> Proc:
            url = rig.postgres.dsn(stage.name, "hub_owner").url
            job = hub | {"client": "bench-bare", "url": url, "library": library}
            return rig.process("bare", ["-m", "benchmarks.mqtt_bare", json.dumps(job)], rig.env())

        async def drained(client: str, start: Any, mark: str, keep: bool) -> float:
            await rig.child("mqtt_wire", hub | {"kind": "session", "client": client})
            await rig.child("mqtt_wire", gates | {"kind": "load", "count": count, "mark": mark})
            watcher = rig.process(
                "watch",
                [
                    "-m",
                    "benchmarks.mqtt_wire",
                    json.dumps(gates | {"kind": "watch", "count": count, "patience_s": 120}),
                ],
                rig.env(),
            )
            await watcher.line()
            process = start()
            try:
                await asyncio.sleep(1.0)
                meter = Meter(bridge=process.pid, postgres=rig.postgres_pid, broker=broker.pid)
                until = asyncio.get_running_loop().time() + 120
                while watcher.alive and asyncio.get_running_loop().time() < until:
                    await asyncio.sleep(0.05)
                used = meter.stop()
                told = json.loads(watcher.log.read_text().splitlines()[-1])
                if "per_s" not in told:
                    raise RuntimeError(process.log.read_text(errors="replace")[-1500:] + watcher.log.read_text()[-500:])
                if keep:
                    cpu.update(used | {"watcher": told["cpu"]})
                return float(told["per_s"])
            finally:
                await process.stop()
                await watcher.stop()

        value, floor = await alternate(
            2,
            lambda n: drained(_CLIENT_ID, bridge, f"d{n}", True),
            lambda n: drained("bench-bare", plain, f"b{n}", False),
        )
        usual = await drained("bench-bare", lambda: plain(library=True), "p", False)
        # Sessions left over would queue what the live gates send.
        await rig.child("mqtt_wire", hub | {"kind": "forget", "client": "bench-bare"})
        await rig.child("mqtt_wire", hub | {"kind": "session", "client": _CLIENT_ID})
        stored = await stage.value("SELECT count(*) FROM records WHERE type = 'checkin'")
        assert stored == 2 * count, f"{stored} records for {2 * count} check-ins"
        # What the drains have left to be written is written now, as it would have been in a day's course.
        await rig.checkpoint()

        async def live(process: Proc, seconds: float, mark: str, events: str = "") -> tuple[dict[str, Any], Meter]:
            await asyncio.sleep(3.0)
            await rig.child("mqtt_wire", gates | {"kind": "live", "rate": 500, "seconds": 1, "mark": f"w{mark}"})
            meter = Meter(bridge=process.pid, postgres=rig.postgres_pid, broker=broker.pid)
            job = gates | {"kind": "live", "rate": _RATE, "seconds": seconds, "mark": mark, "events": events}
            return await rig.child("mqtt_wire", job), meter

        process = bridge()
        told, meter = await live(process, short(6, 60), "l")
        used, starved = meter.stop() | {"gates": told["cpu"]}, meter.starved()
        await process.stop()
        seen, sent = rig.logs / "bridge.json", rig.logs / "gates.json"
        process = bridge("-m", "benchmarks.gates_trace", str(seen))
        await live(process, short(5, 20), "t", str(sent))
        await process.stop()
        parts = gates_trace.shares(json.loads(sent.read_text()), json.loads(seen.read_text()))
    await broker.stop()
    return [
        Figure(path="check-ins drained: MQTT QoS 1 → decoded → ledger → device ack and PUBACK", unit="check-ins/s", value=value, bare=floor,
               bare_is="same client and broker, COPY of keys and messages, device ack, PUBACK", target="≥ 0.6; ≥ 6,000/s",
               met=value / floor >= 0.6 and value >= 6000, cpu=cpu,
               note=f"the bare work with the usual library (paho, its thread) instead: {usual:,.0f}/s (ratio {value / usual:.2f})"),
        Figure(path=f"check-ins live at {_RATE:,}/s, p99 from gate to device ack", unit="ms", value=told["p99_ms"], target="≤ 50 ms",
               met=told["p99_ms"] <= 50 and told["acked"] == told["sent"], cpu=used,
               note=f"p50 {told['p50_ms']:.1f} ms, slowest {told['slowest_ms']:.0f}; {told['acked']:,} of {told['sent']:,} acknowledged, "
               f"{told['per_s']:,.0f}/s; the generator itself, counted in: late p50 {told['late_p50_ms']}, p99 {told['late_p99_ms']} ms, its sleeps "
               f"longer by p99 {told['paused_p99_ms']} ms; ready without a core: "
               + ", ".join(f"{name} {share:.2f}" for name, share in starved.items()) + f"; {gates_trace.told(parts)}"),
    ]  # fmt: skip
