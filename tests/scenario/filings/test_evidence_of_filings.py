"""The evidence pack of a whole filing: every version and every step told of it, each proven, nothing altered unseen."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import evidence, upkeep
from hub.kernel.store.db import patient

N, OTHER = "000.00.12.H24-261122-0001", "000.00.12.H24-261122-00012"
DAY = "2026-11-21T"


def _files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def _written(files: dict[str, bytes], **told: Any) -> bytes:
    """The files as a forger writes them: manifest and ZIP anew."""
    files = dict(files)
    manifest = verify.json.loads(files.pop("manifest.json")) | told
    manifest["files"] = {n: verify.hashlib.sha256(b).hexdigest() for n, b in files.items()}
    return verify.packed(files | {"manifest.json": verify.written(manifest)})


async def _anchored(s: Any) -> str:
    """All there is sealed, and today's anchor set on it (hex), whatever anchor a worker set before. Others in the test's database
    may hold up the seal a moment."""
    for _ in range(100):
        await s.led.owner.execute("DELETE FROM hub.anchors")
        anchor = await evidence.anchor(s.core)
        assert anchor is not None
        if not await s.led.value("SELECT EXISTS (SELECT FROM journal WHERE tx >= (SELECT max(to_tx) FROM seals))"):
            return str(anchor["chain"].hex())
        await asyncio.sleep(0.1)
    raise AssertionError("the seal is held up")


@pytest.fixture
def made(stage: Any, items: Any) -> Any:
    """Runs `work(stage, pack's bytes, record)` after one filing was created, changed twice, and moved by three steps, beside
    another one with a number that begins alike."""

    def run(work: Any) -> Any:
        async def go() -> Any:
            async with stage() as s:
                await s.portal()
                await s.push("filing", items.filing(N, at=f"{DAY}08:00:00+07:00"), items.filing(OTHER))
                await s.push("filing", items.filing(N, at=f"{DAY}09:00:00+07:00", content="Bổ sung học bạ"))
                await s.push("filing_progress", items.progress(N, f"{DAY}10:00:00+07:00", "4"))
                await s.push("filing_progress", items.progress(OTHER, f"{DAY}10:00:00+07:00", "4"))
                await s.push("filing_progress", items.progress(N, f"{DAY}11:00:00+07:00", "4", content="Thẩm định"))
                await s.push("filing", items.filing(N, at=f"{DAY}12:00:00+07:00", status="4", content="Đã đủ"))
                await s.push("filing_progress", items.progress(N, f"{DAY}13:00:00+07:00", "4", content="Trình ký"))
                await s.work()
                await s.settled(30, delivered=8)
                await s.rest()
                record = await evidence.find(s.core, N, "filing")
                assert record is not None
                found = await evidence.gather_whole(s.core, record, EVERYWHERE)
                assert isinstance(found, evidence.Whole)
                return await work(s, pack(found), record)

        return asyncio.run(go())

    return run


def test_every_version_and_step_of_a_filing_is_proven(made: Any, tmp_path: Path) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        found = verify.check(data)
        assert found.state == "proven", verify.told(found)
        files = _files(data)
        listed = verify.json.loads(files["manifest.json"])["records"]
        assert [(r["type"], r["version"]) for r in listed] == [
            ("filing", 1), ("filing", 2), ("filing_progress", 1), ("filing_progress", 1), ("filing", 3), ("filing_progress", 1),
        ]  # fmt: skip
        inner = [_files(files[r["file"]]) for r in listed]
        assert all(any(n.endswith("/request") for n in one) for one in inner), "what was sent of each is there"
        assert not any(OTHER.encode() in one["record/canonical.json"] for one in inner)
        # Each is a pack of its own, and the verifier in the pack reads both with nothing but Python.
        for name, content in (
            ("verify.py", files["verify.py"]),
            ("whole.zip", data),
            ("one.zip", files[listed[0]["file"]]),
        ):
            (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-I", "-S", str(tmp_path / "verify.py")]

        def run(name: str, *more: str) -> Any:
            return subprocess.run([*command, str(tmp_path / name), *more], capture_output=True, text=True, timeout=60)

        anchored = await _anchored(s)
        found = await evidence.gather_whole(s.core, record, EVERYWHERE)
        assert found is not None
        (tmp_path / "whole.zip").write_bytes(pack(found))
        (tmp_path / "one.zip").write_bytes(_files(pack(found))[listed[0]["file"]])
        assert verify.check((tmp_path / "whole.zip").read_bytes()).anchors == [anchored]
        for name in ("whole.zip", "one.zip"):
            said = run(name)
            assert said.returncode == 0, said.stdout
            genuine = [x for a in verify.check((tmp_path / name).read_bytes()).anchors for x in ("--anchor", a)]
            assert run(name, *genuine, "--anchor", "00" * 32).returncode == 0
            assert run(name, "--anchor", "00" * 32).returncode == 1
        # An older version asked for by its number is of the same filing; a single record is gathered as ever.
        again = await evidence.gather_whole(s.core, listed[0]["id"], EVERYWHERE)
        assert again is not None and again.numbers == [r["id"] for r in listed]
        alone = await evidence.gather(s.core, record, EVERYWHERE)
        assert alone is not None and verify.check(pack(alone)).state == "proven"
        school = await s.led.value("SELECT school FROM records WHERE id = $1", record)
        own = await evidence.gather_whole(s.core, record, Scope("school", school))
        assert own is not None and own.numbers == again.numbers
        assert await evidence.gather_whole(s.core, record, Scope("school", "31HP0999001")) is None

    made(work)


def test_each_altered_byte_of_a_filings_pack_is_found(made: Any) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        chance = random.Random(11)
        places = {*chance.sample(range(len(data)), 250), *range(len(data) - 60, len(data))}
        for place in places:
            altered = bytearray(data)
            altered[place] ^= 1 << chance.randrange(8)
            with pytest.raises(verify.Altered):
                verify.check(bytes(altered))
        # Nor with the outer manifest mended, in any of the records.
        whole = _files(data)
        for name in [n for n in whole if n.startswith("records/")]:
            for place in chance.sample(range(len(whole[name])), 15):
                altered = bytearray(whole[name])
                altered[place] ^= 1 << chance.randrange(8)
                with pytest.raises(verify.Altered, match=name):
                    verify.check(_written(whole | {name: bytes(altered)}))

    made(work)


def test_a_record_put_in_or_called_otherwise_is_found(made: Any, tmp_path: Path) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        whole = _files(data)
        listed = verify.json.loads(whole["manifest.json"])["records"]
        other = await evidence.find(s.core, OTHER, "filing")
        assert other is not None
        foreign = await evidence.gather(s.core, other, EVERYWHERE)
        assert foreign is not None
        r, name = foreign.record, "records/foreign.zip"
        told = {"file": name} | {k: r[k] for k in ("id", "type", "key", "version", "event")}
        with pytest.raises(verify.Altered, match="another filing"):
            verify.check(_written(whole | {name: pack(foreign)}, records=[*listed, told]))
        # Called this filing's, its content still says whose it is.
        inside = _files(pack(foreign))
        said = verify.json.loads(inside["record/record.json"]) | {"key": N}
        renamed = _written(inside | {"record/record.json": verify.written(said)})
        with pytest.raises(verify.Altered, match="content is another"):
            verify.check(_written(whole | {name: renamed}, records=[*listed, told | {"key": N}]))
        # Nor does it help to leave the content out: what is stated alone proves nothing, and no anchor makes up for it.
        del inside["record/canonical.json"]
        silent = _written(inside | {"record/record.json": verify.written(said)})
        forged = _written(whole | {name: silent}, records=[*listed, told | {"key": N}])
        found = verify.check(forged)
        assert (found.state, found.unproven) == ("unproven", [f"{name}: record/record.json: filing number"])
        with pytest.raises(verify.NotProven):
            verify.check(forged, *found.anchors)
        (tmp_path / "forged.zip").write_bytes(forged)
        assert verify.main([str(tmp_path / "forged.zip")]) == 3
        for records, why in (
            ([listed[0] | {"version": 7}, *listed[1:]], "not the record"),
            ([*listed, listed[0]], "not the record"),
            ([], "no record"),
            ([listed[0] | {"file": "records/none.zip"}], "missing"),
        ):
            with pytest.raises(verify.Altered, match=why):
                verify.check(_written(whole, records=records))
        with pytest.raises(verify.Altered, match="one record"):
            verify.check(_written(whole | {name: data}, records=[*listed, told]))
        # What nobody names proves nothing, and is said not to.
        found = verify.check(_written(whole | {name: pack(foreign)}))
        assert (found.state, found.unproven) == ("unproven", [name])

    made(work)


def test_a_step_of_today_is_not_anchored_yet_and_nothing_is_altered(made: Any, items: Any, tmp_path: Path) -> None:
    """Against published anchors: what was told after the last one is unproven until the next, and called nothing worse."""

    async def work(s: Any, data: bytes, record: int) -> None:
        before = await _anchored(s)

        async def whole() -> bytes:
            found = await evidence.gather_whole(s.core, record, EVERYWHERE)
            assert found is not None
            (tmp_path / "whole.zip").write_bytes(pack(found))
            return pack(found)

        def against(data: bytes, *anchors: str) -> tuple[int, set[str]]:
            with pytest.raises(verify.NotProven) as refused:
                verify.check(data, *anchors)
            found = refused.value.found
            assert not found.unproven and before in found.anchors
            code = verify.main([str(tmp_path / "whole.zip"), *(x for a in anchors for x in ("--anchor", a))])
            return code, {line.split(":")[0] for line in found.unsealed}

        assert verify.check(await whole(), before).state == "proven"
        await s.push("filing_progress", items.progress(N, f"{DAY}14:00:00+07:00", "4", content="Đã ký"))
        for _ in range(100):  # others in the test's database may hold up the seal a moment
            fresh = await whole()
            if verify.check(fresh).state == "proven":
                break
            await asyncio.sleep(0.1)
        last = verify.json.loads(_files(fresh)["manifest.json"])["records"][-1]["file"]
        assert verify.check(fresh).state == "proven"
        assert against(fresh, before) == (4, {last})
        # Only a chain that says it was anchored nowhere is excused: one that claims another anchor was altered.
        inner = _files(_files(fresh)[last])
        chain = verify.json.loads(inner["chain/seals.json"])
        assert chain["anchor"]["anchored"] is False
        chain["anchor"]["anchored"] = True
        claimed = _written(inner | {"chain/seals.json": verify.written(chain)})
        with pytest.raises(verify.Altered, match="another anchor"):
            verify.check(_written(_files(fresh) | {last: claimed}), before)
        # One that no seal holds yet, while an older transaction holds up the seal.
        async with s.core.pool.acquire() as held, held.transaction():
            await patient(held)
            await held.fetchval("SELECT pg_current_xact_id()")
            await s.push("filing_progress", items.progress(N, f"{DAY}15:00:00+07:00", "4", content="Chuyển trả"))
            early = await whole()
            newest = verify.json.loads(_files(early)["manifest.json"])["records"][-1]["file"]
            assert against(early, before) == (4, {last, newest})
        # With the next anchor all of it is proven.
        after = await _anchored(s)
        assert after != before
        later = await evidence.gather_whole(s.core, record, EVERYWHERE)
        assert later is not None and verify.check(pack(later), after).state == "proven"

    made(work)


def test_what_was_sent_again_unchanged_keeps_no_version_out(
    made: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        numbers = [r["id"] for r in verify.json.loads(_files(data)["manifest.json"])["records"]]
        for _ in range(5):
            await s.push("filing", items.filing(N, at=f"{DAY}12:00:00+07:00", status="4", content="Đã đủ"))
        again = [r["id"] for r in await s.led.rows("SELECT id FROM records WHERE key = $1 AND disposition = 2", N)]
        assert len(again) == 5
        # A copy as one is made of the version in force when its day is dropped.
        await s.led.owner.execute(
            "INSERT INTO hub.records (id, class, message, pointer, type, key, event, version, updated_at, school, body, content, "
            "catalogue, disposition, due) SELECT id + 1000, class, message, pointer, type, key, event, version, updated_at, school, "
            "body, content, catalogue, 4, 0 FROM hub.records WHERE id = $1",
            record,
        )
        await _anchored(s)
        monkeypatch.setattr(evidence, "RECORDS", len(numbers))
        found = await evidence.gather_whole(s.core, record, EVERYWHERE)
        assert isinstance(found, evidence.Whole)
        assert (found.numbers, found.left_out) == (numbers, 0)
        assert verify.check(pack(found)).state == "proven"
        # Asked for by its own number, one sent again is there too.
        monkeypatch.setattr(evidence, "RECORDS", len(numbers) + 1)
        found = await evidence.gather_whole(s.core, again[2], EVERYWHERE)
        assert found is not None and found.numbers == [*numbers, again[2]]

    made(work)


def test_of_a_long_history_the_newest_and_what_was_asked_for_are_there_and_the_rest_is_said(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        numbers = [r["id"] for r in verify.json.loads(_files(data)["manifest.json"])["records"]]
        for limit in ("RECORDS", "BYTES"):
            with monkeypatch.context() as patched:
                patched.setattr(evidence, limit, 3 if limit == "RECORDS" else 1)
                found = await evidence.gather_whole(s.core, numbers[0], EVERYWHERE)
            assert isinstance(found, evidence.Whole)
            kept = [numbers[0], *numbers[-2:]] if limit == "RECORDS" else [numbers[0]]
            assert (found.numbers, found.left_out) == (kept, len(numbers) - len(kept))
            said = verify.told(verify.check(pack(found)))
            assert any(f"{found.left_out} bản ghi cũ hơn" in line for line in said), said

    made(work)


def test_proofs_count_against_what_a_pack_may_hold(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy day links and hashes are many times the bodies: the oldest records stay out for them as well."""

    async def work(s: Any, data: bytes, record: int) -> None:
        await _anchored(s)
        found = await evidence.gather_whole(s.core, record, EVERYWHERE)
        assert isinstance(found, evidence.Whole)
        numbers = found.numbers

        def proofs(one: evidence.Gathered) -> int:
            return 80 * len(one.chain.links) + 67 * sum(len(x.entries) for x in one.chain.seals)

        bodies = sum(g.size for g in found.records)
        assert all(proofs(g) > 0 for g in found.records)
        # Room for every body, and for the proofs of none but the one asked for, which stays whatever it takes.
        monkeypatch.setattr(evidence, "BYTES", bodies + 1)
        alone = await evidence.gather_whole(s.core, numbers[0], EVERYWHERE)
        assert isinstance(alone, evidence.Whole)
        assert alone.numbers[0] == numbers[0] and alone.left_out == len(numbers) - len(alone.numbers) > 0
        assert alone.numbers[1:] == numbers[len(numbers) - len(alone.numbers) + 1 :], "the newest"
        assert verify.check(pack(alone)).state == "proven"
        # With what each pack really takes, but for one byte of a proof: only the oldest stays out.
        told = sum(2 * len(e["leaves"] or b"") + 22 * len(e["ids"] or ()) for g in found.records for e in g.entries)
        whole = bodies + told + sum(proofs(g) for g in found.records)
        for room, left in ((whole, 0), (whole - 1, 1)):
            monkeypatch.setattr(evidence, "BYTES", room)
            some = await evidence.gather_whole(s.core, record, EVERYWHERE)
            assert isinstance(some, evidence.Whole)
            assert (some.numbers, some.left_out) == (numbers[left:], left)

    made(work)


def test_a_long_history_is_read_in_few_queries_each_seal_and_link_once(
    stage: Any, items: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.push("filing", items.filing(N, at=f"{DAY}08:00:00+07:00"))
            for n in range(60):
                await s.push("filing_progress", items.progress(N, f"{DAY}10:{n:02}:00+07:00", "4", content=f"Bước {n}"))
                await upkeep.seal(s.core)
            record = await evidence.find(s.core, N, "filing")
            assert record is not None
            await _anchored(s)
            asked: list[tuple[Any, ...]] = []
            for name in ("fetch", "fetchrow", "fetchval"):
                plain = getattr(asyncpg.Connection, name)

                async def counted(self: Any, query: str, *args: Any, _plain: Any = plain, **options: Any) -> Any:
                    asked.append((query, *args))
                    return await _plain(self, query, *args, **options)

                monkeypatch.setattr(asyncpg.Connection, name, counted)
            monkeypatch.setattr(evidence, "_ROWS", 40)
            found = await evidence.gather_whole(s.core, record, EVERYWHERE)
            monkeypatch.undo()
            assert isinstance(found, evidence.Whole) and len(found.numbers) == 61
            assert len(asked) < 61, [q[0][:40] for q in asked]
            links = [(q[1], q[2]) for q in asked if q[0] == evidence.sql.evidence_links]
            assert all(low > high for (_, high), (low, _) in itertools.pairwise(links)), links
            sealed = [n for q in asked if q[0] == evidence.sql.evidence_sealed for n in q[1]]
            assert len(sealed) == len(set(sealed)) > 1
            told = verify.check(pack(found))
            assert told.state == "proven", verify.told(told)
            # One read alone is the same as among the others.
            one = next(g for g in found.records if g.record["type"] == "filing_progress")
            alone = await evidence.gather(s.core, one.record["id"], EVERYWHERE)
            assert alone is not None and pack(alone) == pack(one)

    asyncio.run(go())


def test_the_entries_of_a_seal_are_found_by_the_journals_index(ledger: Any) -> None:
    async def go() -> None:
        async with ledger() as led, led.owner.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL enable_seqscan = off")
            plan = await connection.fetch(f"EXPLAIN {evidence.sql.evidence_sealed}", [1, 2])
            reads = [r[0] for r in plan if " on journal_" in r[0] and "Scan" in r[0]]
            assert reads and all("Index" in line for line in reads), reads
            assert not any("Join" in r[0] for r in plan), "seal by seal"

    asyncio.run(go())
