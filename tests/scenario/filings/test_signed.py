"""Signed documents attached to filings: verified when taken in, passed on untouched, and a person asked when one does not hold."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree
from msgspec.structs import replace
from signxml import SignatureConstructionMethod
from signxml.xades import XAdESSigner

from hub.kernel.intake import Source
from hub.kernel.ledger import files, operations
from hub.kernel.router import Router, load_flows
from hub.signatures import verify
from hub.signatures.trust import load
from hub.wiring import FLOWS
from tests.pki import World

GOOD, BAD, PLAIN = uuid.UUID(int=1), uuid.UUID(int=2), uuid.UUID(int=3)


def signed(world: World) -> bytes:
    signer = XAdESSigner(
        method=SignatureConstructionMethod.enveloped, signature_algorithm="rsa-sha256", digest_algorithm="sha256"
    )
    made = signer.sign(
        etree.fromstring("<hocba><diem>8.5</diem></hocba>"),
        key=world.signer.key_pem,
        cert=(world.signer.pem + world.authority.pem).decode(),
    )
    return bytes(etree.tostring(made))


def test_a_filing_with_a_bad_signature_waits_for_a_person_and_the_others_go(
    stage: Any, items: Any, tmp_path: Path
) -> None:
    async def go() -> None:
        world = World(tmp_path / "trusted")
        body = signed(world)
        async with stage() as s:
            portal = await s.portal()
            for number, content in ((GOOD, body), (BAD, body.replace(b"8.5", b"9.5")), (PLAIN, b"<hocba/>")):
                verdict = await verify(content, "application/xml", load(world.folder))
                said = verdict.state, msgspec.to_builtins(verdict.signatures) or None
                await files.keep(
                    s.core, Source("client", "test"), number, None, "application/xml", "hoc-ba.xml", content, s.house.keys.encrypt, said
                )  # fmt: skip
            names = {}
            for n, number in enumerate((GOOD, BAD, PLAIN), 1):
                names[number] = f"000.00.12.H24-261122-000{n}"
                attachments = [{"id": f"TL{n}", "name": "Học bạ", "file": number.hex}]
                await s.push("filing", items.filing(names[number], attachments=attachments))
            await s.work()
            await s.settled(delivered=2, parked=1)
            sent = {e.key for e in portal.books.effects}
            assert names[GOOD] in sent and names[PLAIN] in sent and names[BAD] not in sent
            (task,) = await s.led.rows("SELECT id, cause, subject FROM tasks WHERE state = 'open'")
            assert (task["cause"], task["subject"]) == ("bad_signature", str(BAD))
            found = await files.verdicts(s.core, [GOOD, BAD, PLAIN])
            assert [found[f.hex]["state"] for f in (GOOD, BAD, PLAIN)] == ["good", "bad", "unsigned"]
            assert "sửa sau khi ký" in json.dumps(found[BAD.hex], ensure_ascii=False)
            # Passed on untouched, whatever was found.
            kept = await files.find(s.core, GOOD, s.house.keys.decrypt)
            assert kept is not None
            assert b"".join([p async for p in files.read(s.core, kept, 0, kept.size - 1, s.house.keys.decrypt)]) == body
            await operations.resolve_task(s.core, "an", task["id"], "release", "Đã gọi điện xác nhận")
            await s.settled(delivered=3)
            assert names[BAD] in {e.key for e in portal.books.effects}

    asyncio.run(go())


ELSEWHERE = {"id": "TL1", "name": "Học bạ", "url": "https://kho.example.invalid/tai-lieu/1?khoa=rieng"}


def _parking(s: Any) -> None:
    """Filings with documents kept elsewhere wait for a person, as the flow would say."""
    flows = load_flows(FLOWS)
    filings = flows["filings-to-portal"]
    strict = replace(filings, to=[replace(filings.to[0], unchecked="park")])
    s.core.router = Router(flows | {filings.name: strict}, s.core.connectors)


@pytest.mark.parametrize("member", ["attachments", "results"])
def test_a_document_kept_elsewhere_asks_a_person_where_the_flow_says_so(stage: Any, items: Any, member: str) -> None:
    async def go() -> None:
        async with stage() as s:
            portal = await s.portal()
            _parking(s)
            name, plain = "000.00.12.H24-261122-0001", "000.00.12.H24-261122-0002"
            told = items.filing(name, **{member: [ELSEWHERE]})
            await s.push("filing", told, items.filing(plain))
            await s.work()
            await s.settled(delivered=1, parked=1)
            assert {e.key for e in portal.books.effects} == {plain}
            (task,) = await s.led.rows("SELECT id, cause, subject, text FROM tasks WHERE state = 'open'")
            assert task["cause"] == "unchecked_document" and task["subject"].startswith(f"{name} #")
            assert "rieng" not in f"{task['subject']}{task['text']}", "an address may open the document"
            await operations.resolve_task(s.core, "an", task["id"], "release", "Đã mở xem tại kho")
            await s.settled(delivered=2)
            # A later version with the same address has been looked at; one with another has not, given up or not.
            later = items.filing(name, at="2026-11-20T10:00:00+07:00", **{member: [ELSEWHERE]}, status="4")
            await s.push("filing", later)
            await s.settled(delivered=3)
            other = [ELSEWHERE | {"url": "https://kho.example.invalid/tai-lieu/2"}]
            await s.push("filing", items.filing(name, at="2026-11-20T11:00:00+07:00", **{member: other}, status="5"))
            await s.settled(delivered=3, parked=1)
            refused = await s.led.value("SELECT id FROM tasks WHERE state = 'open'")
            await operations.resolve_task(s.core, "an", refused, "give_up", "Không mở được")
            await s.push("filing", items.filing(name, at="2026-11-20T12:00:00+07:00", **{member: other}, status="6"))
            await s.settled(delivered=3, parked=1, dead=1)

    asyncio.run(go())


def test_a_document_kept_elsewhere_goes_as_it_is_where_no_flow_says_otherwise(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.portal()
            await s.push("filing", items.filing(attachments=[ELSEWHERE]))
            await s.work()
            await s.settled(delivered=1)
            assert await s.led.value("SELECT count(*) FROM tasks") == 0

    asyncio.run(go())
