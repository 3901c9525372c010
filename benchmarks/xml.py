"""XML on the hot path: parsing an answer and checking it against its schema, with all the hub's guards, against libxml2 alone."""

from __future__ import annotations

import os
import time

from lxml import etree

from adapters.population import envelope
from benchmarks.counterparty import population as answered
from benchmarks.rig import Figure, Meter, Rig, alternate, short


async def measure(rig: Rig) -> list[Figure]:
    """Answers a second, one thread."""
    # Turns of milliseconds: the machine's own speed changes by half within seconds, and has to fall on both alike.
    count = short(200, 1_000)
    question = envelope.RequestTemplate({"MaDVC": "D", "MaCanBo": "C", "MaTichHop": "037"}).fill(
        "r", "031214000001", "Nguyễn Văn Mẫu", "20140305"
    )
    body = answered(question)[1]
    schema = etree.XMLSchema(etree.parse(str(envelope.CONTRACT / "answer.xsd")))

    cpu: dict[str, float] = {}

    async def ours(_n: int) -> float:
        meter = Meter(**{"one thread": os.getpid()})
        started = time.perf_counter()
        for _ in range(count):
            envelope.check_answer(envelope.payload(body), trust_count=True)
        rate = count / (time.perf_counter() - started)
        cpu.update(meter.stop())
        return rate

    async def limit(_n: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            schema.validate(etree.fromstring(body)[0][0])
        return count / (time.perf_counter() - started)

    value, alone = await alternate(501, ours, limit)
    return [
        Figure(path=f"XML parse + XSD of an answer ({len(body)} bytes)", unit="answers/s", value=value, bare=alone, bare_is="libxml2 alone (lxml, no guards)",
               target="≥ 0.8", met=value / alone >= 0.8, cpu=cpu),
    ]  # fmt: skip
