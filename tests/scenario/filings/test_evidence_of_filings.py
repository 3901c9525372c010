"""The evidence pack of a whole filing: every version and every step told of it, each proven, nothing altered unseen."""

from __future__ import annotations

import asyncio
import io
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE, Scope
from hub.kernel.ledger import evidence

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


def test_a_record_put_in_or_called_otherwise_is_found(made: Any) -> None:
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
