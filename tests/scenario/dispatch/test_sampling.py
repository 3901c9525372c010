"""A real exchange becomes a sample: it passes what every sample must, and nothing of the original is in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import yaml

from adapters import manifest as manifests
from adapters.population.people import Person
from adapters.samples import Case, Sample, plain_call
from hub import sampling
from hub.kernel.ledger import evidence
from hub.traces import left_over

NUMBER, NAME, BIRTH = "031214000077", "Lương Quỳnh Thử", "2014-03-05"
PARENT, PHONE, STREET = "Khúc Thị Ngân Hà", "0912 345 678", "Số 17 ngõ Hoa Phượng"
ORIGINALS = [NUMBER, NAME, "20140305", BIRTH, "05/03/2014", PARENT, PHONE, STREET, "3112345678", "031185000078"]
LEARNER: dict[str, Any] = {
    "full_name": NAME, "personal_number": NUMBER, "birth_date": BIRTH, "sex": "Nam",
    "residence": {"detail": STREET},
    "parents": [{"relation": "mother", "full_name": PARENT, "personal_number": "031185000078", "phone": PHONE}],
}  # fmt: skip


def _sample(made: sampling.Made, folder: Path) -> Sample:
    """As `adapters.samples.samples` reads one, wherever it stands."""
    case = msgspec.convert(yaml.safe_load((folder / "case.yaml").read_text("utf-8")), Case)
    return Sample(manifest=manifests.load(made.system), folder=folder, case=case)


def _holds(made: sampling.Made, folder: Path, originals: list[str]) -> Sample:
    sampling.write(made, folder)
    sample = _sample(made, folder)
    assert sample.run() == orjson.loads(sample.golden.read_bytes())
    adapter = sample.adapter()
    assert [plain_call(c) for c in sample.calls(adapter)] == orjson.loads((folder / "calls.json").read_bytes())
    kind = {o.name: o.kind for o in sample.manifest.outcomes}[sample.case.outcome or ""]
    assert kind in {o["type"] for o in orjson.loads(sample.golden.read_bytes())["outcomes"].values()}
    for path in folder.iterdir():
        assert left_over(path.read_bytes(), originals) == [], path.name
    with pytest.raises(sampling.Refused):
        sampling.write(made, folder)
    return sample


async def _delivery(s: Any, connector: str) -> int:
    return int(
        await s.led.value(
            "SELECT d.id FROM deliveries_closed d JOIN connectors c ON c.id = d.connector WHERE c.name = $1 ORDER BY d.id", connector
        )
    )  # fmt: skip


async def _made(s: Any, number: int) -> sampling.Made:
    found = await evidence.exchange(s.core, number)
    assert found is not None
    return sampling.make(s.house, found, b"k" * 32)


def test_exchanges_with_the_ministry_and_the_population_database(stage: Any, items: Any, tmp_path: Path) -> None:
    async def work() -> None:
        async with stage() as s:
            await s.ministry()
            person = Person(number=NUMBER, name=NAME, birth="20140305", sex="1")
            await s.population([person])
            await s.push("learner", items.learner(**LEARNER))
            await s.work()
            await s.settled(delivered=2)
            for system in ("ministry", "population"):
                number = await _delivery(s, system)
                made = await _made(s, number)
                sample = _holds(made, tmp_path / f"recorded-{system}", ORIGINALS)
                assert not made.blanked
                (one,) = sample.outgoing()
                told = one.body
                assert told["personal_number"][3] == "2", "a boy of this century"
                assert 1900 + 100 * (int(told["personal_number"][3]) // 2) + int(told["personal_number"][4:6]) == int(
                    told["birth_date"][:4]
                )
                assert (made.outcome == "match") == (system == "population")
            # By its call's number it is the same exchange.
            call = await s.led.value("SELECT call FROM attempts WHERE delivery = $1", number)
            assert (await _made(s, call)).files == made.files
            assert await evidence.exchange(s.core, 5) is None
            # The mapping moved on: what would be rendered now is not what was sent.
            await s.led.owner.execute("UPDATE calls SET path = path || '/x' WHERE id = $1", call)
            with pytest.raises(sampling.Refused, match="call/path"):
                await _made(s, call)
            await s.led.owner.execute("UPDATE calls SET body = NULL WHERE id = $1", call)
            with pytest.raises(sampling.Refused, match="erased"):
                await _made(s, call)

    asyncio.run(work())


def test_exchanges_with_the_portal_and_what_a_reply_says_beside(stage: Any, items: Any, tmp_path: Path) -> None:
    async def work() -> None:
        async with stage() as s:
            await s.portal()
            applicant = {
                "kind": "1",
                "name": NAME,
                "identity_number": NUMBER,
                "phone": "0912345678",
                "email": "thu@truong.vn",
            }
            await s.push("filing", items.filing(applicant=applicant, content=f"Xin chuyển trường cho {PARENT}"))
            await s.work()
            await s.settled(delivered=1)
            number = await _delivery(s, "public_service")
            originals = [NAME, NUMBER, "0912345678", "thu@truong.vn", PARENT, "000.00.12.H24-261122-0001"]
            made = await _made(s, number)
            _holds(made, tmp_path / "recorded-filing", originals)
            # What the counterparty repeats is replaced there too; what nobody can vouch for is taken out.
            row = (await evidence.exchange(s.core, number)).replies[-1]  # type: ignore[union-attr]
            told = json.loads(row["body"])
            told["message"] = f"Đã nhận hồ sơ của ông LUONG QUYNH THU, con bà Phạm Thị Lạ, số {NUMBER}"
            await s.led.owner.execute(
                "UPDATE replies SET body = $2 WHERE id = $1", row["id"], json.dumps(told).encode()
            )
            made = await _made(s, number)
            assert made.blanked == ["/message"]
            assert left_over(made.files["reply.json"], [*originals, "Phạm Thị Lạ"]) == []

    asyncio.run(work())
