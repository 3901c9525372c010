"""An inquiry, a page of a list and an event told by the portal become samples, and nothing of the original is in them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from adapters import manifest as manifests
from adapters.twin import Fault
from connectors.address import AddressPolicy
from hub import sampling, sampling_beside
from hub.api import callbacks
from hub.kernel.ledger import evidence
from hub.kernel.ledger.intake import accept
from hub.kernel.store.db import sql
from hub.traces import left_over
from hub.worker.pulls import Pull
from tests.scenario.dispatch.test_sampling import NAME, NUMBER, _sample

FILE = "000.00.12.H24-261122-0001"
PHONE, EMAIL = "0912345678", "thu@truong.vn"
KEY = b"k" * 32


def _holds(made: sampling.Made, folder: Path, originals: list[str]) -> None:
    sampling.write(made, folder)
    sample = _sample(made, folder)
    assert sample.run() == orjson.loads(sample.golden.read_bytes())
    for path in folder.iterdir():
        assert left_over(path.read_bytes(), originals) == [], path.name


def test_an_inquiry_and_what_it_settled(stage: Any, items: Any, tmp_path: Path) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.set_fault(Fault(kind="commit_then_timeout", count=1, match="DongBoHoSoMC", delay_s=0.1))
            applicant = {"kind": "1", "name": NAME, "identity_number": NUMBER, "phone": PHONE, "email": EMAIL}
            await s.push("filing", items.filing(applicant=applicant))
            await s.work()
            await s.settled(delivered=1)
            call = await s.led.value("SELECT call FROM attempts WHERE kind = 'inquire' AND outcome = 'present'")
            found = await evidence.exchange(s.core, call)
            assert found is not None and found.about is not None and found.about.call["operation"] == "create"
            made = sampling_beside.settled(s.house, found, KEY)
            assert made.outcome in {o.name for o in manifests.load("public_service").outcomes if o.kind == "present"}
            _holds(made, tmp_path / "recorded-inquiry", [NAME, NUMBER, PHONE, EMAIL, FILE])
            # A delivery's own number still gives what was sent, not what was asked about it.
            sent = await evidence.exchange(s.core, await s.led.value("SELECT id FROM deliveries_closed"))
            assert sent is not None and sent.about is None and sent.call["operation"] == "create"
            await s.led.owner.execute("UPDATE calls SET path = path || '/x' WHERE id = $1", call)
            moved = await evidence.exchange(s.core, call)
            assert moved is not None
            with pytest.raises(sampling.Refused, match="asks in another way"):
                sampling_beside.settled(s.house, moved, KEY)

    asyncio.run(work())


def test_a_page_of_questions_and_an_event(stage: Any, tmp_path: Path) -> None:
    async def work() -> None:
        async with stage() as s:
            twin = await s.portal()
            twin.lists["questions"] = [
                {
                    "MAHOIDAP": "HD-1", "TIEUDE": "Hỏi về chuyển trường", "NOIDUNG": f"Tôi là {NAME}, số {NUMBER}.", "NGAYGUI": "20261102083000",
                    "NGUOIGUI": NAME, "EMAIL": EMAIL, "SODIENTHOAI": PHONE, "MATTHC": "2.002481", "TRANGTHAI": "1",
                },
                {"MAHOIDAP": "HD-2", "NOIDUNG": "Bao giờ có kết quả?", "NGAYGUI": "không phải ngày", "TRANGTHAI": "2"},
            ]  # fmt: skip
            async with s.core.pool.acquire() as connection:
                row = await connection.fetchrow(sql.pull_connector, "public_service")
            pull = Pull(s.core, row, "questions", s.led.keys, AddressPolicy(("127.0.0.0/8",)), "test")
            assert (await pull.run("k", 30.0)).done
            number = await s.led.value("SELECT id FROM messages WHERE attributes ? 'pull'")
            page = await evidence.heard(s.core, number)
            made = sampling_beside.heard(s.house, page, KEY)
            _holds(made, tmp_path / "recorded-page", [NAME, NUMBER, EMAIL, PHONE])
            golden = json.loads(made.files["pulled.json"])
            assert (len(golden["drafts"]), len(golden["rejects"])) == (1, 1)

            told = {
                "MaSuKien": "SK-2",
                "SuKien": "THAYDOI",
                "MaHoSo": FILE,
                "TrangThai": "5",
                "ThoiGian": "20261123083000",
            }
            told |= {"NoiDung": f"Bổ sung giấy tờ của {NAME}, {NUMBER}", "NguoiXuLy": NAME, "DonVi": "Bộ phận một cửa"}
            hub: Any = SimpleNamespace(core=s.core)
            adapter = manifests.load("public_service").build({"agency": "000.00.12.H24"}, None)
            body = orjson.dumps({"data": [told, {"SuKien": "KHAC", "MaHoSo": FILE}]})
            await accept(s.core, await callbacks._arrivals(hub, "public_service", adapter, body, "application/json"))
            kinds = []
            for r in await s.led.rows("SELECT id FROM messages WHERE attributes ? 'callback' ORDER BY id"):
                event = await evidence.heard(s.core, r["id"])
                made = sampling_beside.heard(s.house, event, KEY)
                _holds(made, tmp_path / f"recorded-event-{len(kinds)}", [NAME, NUMBER, FILE])
                kinds += [one["kind"] for one in json.loads(made.files["decoded.json"])]
            assert kinds == ["Draft", "Reject"]
            assert await evidence.heard(s.core, 5) is None

    asyncio.run(work())
