"""Evidence packs of real deliveries: they check out offline, and nothing in them can be altered unseen."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel import leaves
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.intake import Arrival, Source, intake_key
from hub.kernel.ledger import evidence, intake, upkeep
from hub.kernel.lifecycle import State
from hub.kernel.ports import Draft
from hub.kernel.store.db import patient
from tests.scenario.dispatch.packs import changed, forged, opened, verified


def test_the_whole_way_of_a_filing_is_proven_up_to_an_anchor(made: Any, tmp_path: Path) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        found = verify.check(data)
        assert found.state == "proven", verify.told(found)
        head = found.anchor
        files = opened(data)
        assert b"000.00.12.H24-261122-0001" in files["record/canonical.json"]
        assert any(n.endswith("/request") and b"DongBoHoSoMC" in b for n, b in files.items())
        assert any("/reply-" in n for n in files)
        # The verifier in the pack is the one that was used, and runs with nothing but Python.
        path = tmp_path / "pack.zip"
        path.write_bytes(data)
        (tmp_path / "verify.py").write_bytes(files["verify.py"])
        command = [sys.executable, "-I", "-S", str(tmp_path / "verify.py"), str(path), "--anchor"]

        def run(anchor: str) -> Any:
            return subprocess.run([*command, anchor], capture_output=True, text=True, timeout=60)

        said = await asyncio.to_thread(run, str(head))
        assert said.returncode == 0, said.stdout
        # Once an anchor is set, packs lead to it, whatever was sealed since.
        await s.rest()  # a worker sets the day's anchor as well
        await s.led.owner.execute("DELETE FROM hub.anchors")
        anchor = await evidence.anchor(s.core)
        assert anchor is not None and await evidence.anchor(s.core) is None
        await s.led.school("31HP9999001")
        again = await evidence.gather(s.core, record, EVERYWHERE)
        assert again is not None
        assert verify.check(pack(again), anchor["chain"].hex()).anchor == anchor["chain"].hex()
        path.write_bytes(pack(again))
        assert (await asyncio.to_thread(run, anchor["chain"].hex())).returncode == 0
        assert (await asyncio.to_thread(run, "00" * 32)).returncode == 1

    made(work)


def test_any_altered_byte_is_found(made: Any) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        chance = random.Random(7)
        places = {*range(0, len(data), 97), *chance.sample(range(len(data)), 300), *range(len(data) - 200, len(data))}
        for place in places:
            altered = bytearray(data)
            altered[place] ^= 1 << chance.randrange(8)
            with pytest.raises(verify.Altered):
                verify.check(bytes(altered))
        for cut in (data[:-1], data + b"\0", data[1:], b"", data[: len(data) // 2]):
            with pytest.raises(verify.Altered):
                verify.check(cut)

    made(work)


def test_a_forger_who_writes_manifest_and_zip_anew_is_found_by_the_chain(made: Any) -> None:
    """Whoever alters the content and mends everything in reach meets the journal's root; who mends that, the anchor."""

    async def work(s: Any, data: bytes, record: int) -> None:
        whole = opened(data)
        head = verify.check(data).anchor

        def altered(change: dict[str, bytes], *without: str) -> bytes:
            return forged(whole, change, *without)

        request = next(n for n in whole if n.endswith("/request"))
        reply = next(n for n in whole if "/reply-" in n)
        for name in ("message/body", "record/canonical.json", request, reply):
            with pytest.raises(verify.Altered, match="not the"):
                verify.check(altered({name: whole[name] + b" "}))
        for name in ("chain/seals.json", "chain/entries.json", "timeline.json", "record/record.json"):
            with pytest.raises(verify.Altered, match="missing"):
                verify.check(altered({}, name))
        timeline = verify.json.loads(whole["timeline.json"])
        timeline["outcomes"][0] |= {"state": int(State.DEAD), "word": State.DEAD.word}
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(altered({"timeline.json": verify.written(timeline)}))
        entries = verify.json.loads(whole["chain/entries.json"])
        entries[0]["entry"] = entries[0]["entry"].replace("intake", "intakE")
        with pytest.raises(verify.Altered, match="not in seal"):
            verify.check(altered({"chain/entries.json": verify.written(entries)}))
        chain = verify.json.loads(whole["chain/seals.json"])
        chain["before"] = "00" * 32
        with pytest.raises(verify.Altered, match="anchor"):
            verify.check(altered({"chain/seals.json": verify.written(chain)}))
        # A chain made up as a whole agrees with itself, and with no anchor that was ever published.
        value = b"\0" * 32
        for number, root in chain["links"]:
            value = verify.link(value, number, bytes.fromhex(root))
        chain["anchor"] |= {"chain": value.hex(), "anchored": True}
        made_up = altered({"chain/seals.json": verify.written(chain)})
        assert verify.check(made_up).anchor == value.hex() != head
        with pytest.raises(verify.Altered, match="another anchor"):
            verify.check(made_up, head)
        # Nor does it help to say that no anchor was set yet: then nothing of it is proven.
        chain["anchor"]["anchored"] = False
        with pytest.raises(verify.NotProven) as refused:
            verify.check(altered({"chain/seals.json": verify.written(chain)}), head)
        assert refused.value.found.state == "unsealed" and "message/body" in refused.value.found.unsealed

    made(work)


def test_a_pack_without_its_proofs_is_not_proven_whatever_anchor_is_genuine(made: Any, tmp_path: Path) -> None:
    """A genuine chain proves nothing of what no entry in it speaks of."""

    async def work(s: Any, data: bytes, record: int) -> None:
        whole = opened(data)
        head = str(verify.check(data).anchor)
        nothing = {"chain/entries.json": b"[]", **changed(whole, "chain/seals.json", seals=[])}
        silent = changed(whole, "timeline.json", outcomes=[])
        unnamed = changed(whole, "message/message.json", entry=None)
        # Anything at all as body, record and request, with every hash in reach mended.
        body = whole["message/body"].replace(b"0001", b"0009")
        canonical = whole["record/canonical.json"].replace(b"0001", b"0009")
        told = verify.json.loads(whole["record/record.json"])
        content = verify.content_hash(told["event"] == "CANCEL", canonical).hex()
        request = next(n for n in whole if n.endswith("/request"))
        call = request.replace("/request", "/call.json")
        invented = {
            **nothing, **silent, "message/body": body, "record/canonical.json": canonical, request: b"<made-up/>",
            **changed(whole, "record/record.json", content=content),
            **changed(whole, "message/message.json", entry=None, stored=verify.sha256(body).hex()),
            "message/records.json": verify.written([[told["id"], content]]),
            **changed(whole, call, request=verify.sha256(b"<made-up/>").hex()),
        }  # fmt: skip
        message = [n for n in whole if n.startswith("message/")]
        variants: dict[str, tuple[bytes, set[str]]] = {
            "invented": (forged(whole, invented), {"message/body", "record/canonical.json", request}),
            "no entries": (forged(whole, nothing | silent | unnamed), {"message/body", "record/record.json", request}),
            "no outcomes": (forged(whole, silent), {request}),
            "no message": (forged(whole, {}, *message), {"record/record.json", "record/canonical.json"}),
            "a body alone": (forged(whole, {}, *(set(message) - {"message/body"})), {"message/body"}),
            "one more file": (forged(whole, {"record/diploma.pdf": b"%PDF"}), {"record/diploma.pdf"}),
            "one more reply": (
                forged(whole, {request.replace("request", "reply-1"): b"ok"}),
                {request.replace("request", "reply-1")},
            ),
        }
        for name, (pack_, unproven) in variants.items():
            found = verify.check(pack_)
            assert found.state == "unproven" and unproven <= set(found.unproven), (name, verify.told(found))
            with pytest.raises(verify.NotProven):
                verify.check(pack_, head)
            for more in ((), ("--anchor", head)):
                code, said = await asyncio.to_thread(verified, pack_, tmp_path, *more)
                assert code == 3 and "KHÔNG CHỨNG MINH ĐƯỢC" in said and "PROVEN up to" not in said, (name, said)
        # A second reply of the same hash does not let other bytes in beside it.
        told = verify.json.loads(whole[call])
        told["replies"].insert(0, told["replies"][0] | {"id": 1})
        other = {call: verify.written(told), request.replace("request", "reply-1"): b"other"}
        with pytest.raises(verify.Altered, match="not the bytes"):
            verify.check(forged(whole, other))
        # What was sent is not what came back: neither the two exchanged, nor one of them shown as both.
        sent, came = verify.json.loads(whole[call]), verify.json.loads(whole[call])["replies"][-1]
        reply = request.replace("request", f"reply-{came['id']}")
        for asked, answer in ((reply, request), (reply, reply), (request, request)):
            hashes = {"request": verify.sha256(whole[asked]).hex(), "digest": verify.sha256(whole[answer]).hex()}
            told = sent | {"request": hashes["request"], "replies": [came | {"digest": hashes["digest"]}]}
            exchanged = {call: verify.written(told), request: whole[asked], reply: whole[answer]}
            with pytest.raises(verify.Altered, match="that were concluded"):
                verify.check(forged(whole, exchanged))
        # Nor is the request one more reply.
        told = sent | {"replies": [*sent["replies"], came | {"id": 1, "digest": sent["request"]}]}
        found = verify.check(forged(whole, {call: verify.written(told)}))
        assert found.unproven == [request.replace("request", "reply-1")]
        # Nor may an outcome be called what it was not, or seals stand in no chain.
        outcomes = verify.json.loads(whole["timeline.json"])["outcomes"]
        outcomes[0]["word"] = "delivered" if outcomes[0]["word"] != "delivered" else "dead"
        with pytest.raises(verify.Altered, match="as it was written"):
            verify.check(forged(whole, changed(whole, "timeline.json", outcomes=outcomes)))
        with pytest.raises(verify.Altered, match="no anchor"):
            verify.check(forged(whole, changed(whole, "chain/seals.json", links=[])))

    made(work)


def test_a_pack_made_before_the_seal_says_so_and_proves_nothing(made: Any, items: Any, tmp_path: Path) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        whole = opened(data)
        empty = {"before": "", "links": [], "anchor": None, "seals": []}
        early = forged(whole, {"chain/seals.json": verify.written(empty)})
        found = verify.check(early)
        assert found.state == "unsealed" and "message/body" in found.unsealed and not found.unproven
        code, said = await asyncio.to_thread(verified, early, tmp_path)
        assert code == 4 and "NOT SEALED YET" in said and "PROVEN up to" not in said
        code, _ = await asyncio.to_thread(verified, early, tmp_path, "--anchor", "00" * 32)
        assert code == 4
        # The hub says the same of a pack made while an older transaction holds up the seal.
        async with s.core.pool.acquire() as held, held.transaction():
            await patient(held)
            await held.fetchval("SELECT pg_current_xact_id()")
            await s.push("learner", items.learner("3100009999"))
            number = await evidence.find(s.core, "3100009999", "learner")
            assert number is not None
            fresh = await evidence.gather(s.core, number, EVERYWHERE)
            assert fresh is not None
            found = verify.check(pack(fresh))
            assert found.state == "unsealed", verify.told(found)
        # Others in the test's database may hold it up a moment longer.
        for _ in range(100):
            later = await evidence.gather(s.core, number, EVERYWHERE)
            assert later is not None
            if verify.check(pack(later)).state == "proven":
                return
            await asyncio.sleep(0.1)
        raise AssertionError(verify.told(verify.check(pack(later))))

    made(work)


def test_a_pack_says_what_has_expired_and_still_proves_the_rest(made: Any) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        assert await upkeep.expire_bodies(s.core, 3, -2) >= 1
        found = await evidence.gather(s.core, record, EVERYWHERE)
        assert found is not None
        later = pack(found)
        told = verify.check(later)
        files = opened(later)
        assert "message/body" not in files and not any(n.endswith("/request") for n in files)
        assert "message/body" in verify.json.loads(files["manifest.json"])["missing"]
        assert told.state == "proven", verify.told(told)

    made(work)


def test_a_check_in_judged_again_is_proven_too(stage: Any) -> None:
    """A version the hub itself made, of what it knew later, with its own message and its own line of the journal."""

    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            now = datetime.now(UTC)
            for at, event in ((now, "later"), (now - timedelta(seconds=20), "first")):
                source = Source("device", "g1")
                body = {
                    "person_code": "HS1", "device": "g1", "school_code": "31HP0123001", "device_time_raw": at.isoformat(), "direction": "in",
                    "received_at": at.isoformat(), "corrected_time": at.isoformat(), "historical": False, "method": "face",
                    "verify_status": "allowed", "quarantine": None, "images_removed": 0,
                }  # fmt: skip
                draft = Draft(type="checkin", key=f"g1/{event}", body=body, event="NEW", updated_at=at)
                arrival = Arrival(
                    source=source, type="checkin", body=b"{}", content_type="application/json", digest=verify.sha256(event.encode()),
                    key=intake_key(source, "event", event), drafts=[draft],
                )  # fmt: skip
                await intake.accept(s.core, [arrival])
            await s.work()
            await s.settled(delivered=3)
            for row in await s.led.rows("SELECT id FROM records"):
                found = await evidence.gather(s.core, row["id"], EVERYWHERE)
                assert found is not None
                told = verify.check(pack(found))
                assert told.state == "proven", verify.told(told)
            assert await s.led.rows("SELECT 1 FROM journal WHERE kind = 'judged_again'")

    asyncio.run(go())


def test_a_school_sees_no_byte_of_another_schools(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.led.school("31HP0999001")
            await s.house.refresh()
            await s.push("learner", items.learner("3100000001"), items.learner("3100000002", school_code="31HP0999001"))
            await s.work()
            await s.settled(delivered=2)
            record = await evidence.find(s.core, "3100000001", "learner")
            assert record is not None
            school = Scope(kind="school", code="31HP0123001")
            found = await evidence.gather(s.core, record, school)
            assert found is not None and "message" in found.withheld
            data = pack(found)
            assert verify.check(data).state == "proven"
            leaks = [n for n, b in opened(data).items() if b"3100000002" in b or b"31HP0999001" in b]
            assert not leaks
            assert await evidence.gather(s.core, record, Scope(kind="school", code="31HP0999001")) is None

    asyncio.run(go())


def test_ledger_and_verifier_hash_alike() -> None:
    made = [(5).to_bytes(8, "big") + b"c" * 16, (6).to_bytes(8, "big") + b"d" * 16]
    stored = verify.sha256(b"body")
    assert leaves.message_leaf(7, b"k" * 32, b"body", made) == verify.message_leaf(
        7, b"k" * 32, stored, [(5, b"c" * 16), (6, b"d" * 16)]
    )
    assert leaves.message_leaf(7, b"k" * 32, None, ()) == verify.message_leaf(7, b"k" * 32, b"", [])
    for told in ((b"r" * 32, b"", b""), (b"r" * 32, b"a" * 32, b""), (b"r" * 32, b"a" * 32, b"m" * 32)):
        assert leaves.outcome_leaf(9, 5, 7, *told) == verify.outcome_leaf(9, 5, 7, *told)
    assert leaves.outcome_leaf(9, 5, 7, b"", b"", b"") != verify.outcome_leaf(9, None, 7, b"", b"")


def test_the_verifier_names_states_as_the_lifecycle_does() -> None:
    assert {int(state): state.word for state in State} == verify._WORDS
