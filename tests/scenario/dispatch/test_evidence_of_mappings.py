"""An evidence pack holds what mapped each request, and the chain proves it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hub.evidence import verify
from hub.evidence.pack import pack
from hub.kernel.access import EVERYWHERE
from hub.kernel.ledger import corrections, evidence, history, operations, replays
from hub.kernel.lifecycle import State
from mappings.catalogue import base
from mappings.fieldmap import load_field_maps
from mappings.versions import version_of
from tests.scenario.dispatch.packs import changed, forged, opened, verified


def _of(files: dict[str, bytes]) -> dict[str, str]:
    """What mapped each call, by the call's number."""
    told = [verify.json.loads(b) for n, b in files.items() if n.endswith("/call.json")]
    return {str(c["id"]): c["mapping"] for c in told}


async def _packed(s: Any, key: str) -> tuple[dict[str, bytes], str, list[dict[str, Any]]]:
    """The files of a learner's pack, which is proven; what mapped it, and the approved entries that counted."""
    found = await evidence.gather(s.core, await evidence.find(s.core, key, "learner"), EVERYWHERE)
    assert found is not None
    data = pack(found)
    assert verify.check(data).state == "proven", verify.told(verify.check(data))
    files = opened(data)
    (mapping,) = set(_of(files).values())
    return files, mapping, verify.json.loads(files[f"mappings/{mapping.partition('@')[2]}/approvals.json"])


def test_what_mapped_a_request_is_in_the_pack_and_proven(made: Any) -> None:
    async def work(s: Any, data: bytes, record: int) -> None:
        files = opened(data)
        wanted = version_of(load_field_maps()["public_service.filing"], base())
        assert set(_of(files).values()) == {wanted.name}
        place = f"mappings/{wanted.name.partition('@')[2]}"
        assert {files[n] for n in files if n.startswith(place)} == set(wanted.parts.values())
        assert files[f"{place}/fields.yaml"].startswith(b"map: public_service.filing\n")
        found = verify.check(data)
        assert found.state == "proven" and any("1/1 lời gọi" in line for line in found.lines), found.lines
        # Any byte of any of its files, manifest and ZIP written anew.
        mapping = [n for n in files if n.startswith(place)]
        assert len(mapping) > 3
        for name in mapping:
            with pytest.raises(verify.Altered):
                verify.check(forged(files, {name: files[name] + b" "}))
            with pytest.raises(verify.Altered, match="missing"):
                verify.check(forged(files, {}, name))
        # Nor does it help to give the document another name, or the call: the outcome's entry names it.
        document = files[f"{place}/mapping.json"].replace(b"public_service.filing", b"public_service.gniflif")
        other = verify.sha256(document).hex()
        moved = {n.replace(place, f"mappings/{other}"): files[n] for n in mapping} | {
            f"mappings/{other}/mapping.json": document
        }
        (call,) = (n for n in files if n.endswith("/call.json"))
        renamed = changed(files, call, mapping=f"public_service.gniflif@{other}")
        with pytest.raises(verify.Altered, match="not what the request was mapped by"):
            verify.check(forged(files, moved | renamed, *mapping))
        timeline = verify.json.loads(files["timeline.json"])
        for one in timeline["outcomes"]:
            one["mapping"] = other
        named = {"timeline.json": verify.written(timeline)}
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(files, moved | renamed | named, *mapping))
        for one in timeline["outcomes"]:
            del one["mapping"]
        silent = {"timeline.json": verify.written(timeline)}
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(files, silent))
        with pytest.raises(verify.Altered, match="not what the request was mapped by"):
            verify.check(forged(files, changed(files, call, mapping="public_service.filing@1+2")))
        # One beside it that no entry speaks of is not proven.
        found = verify.check(forged(files, moved))
        assert set(found.unproven) == set(moved)

    made(work)


def test_a_mapping_that_is_not_in_the_pack_is_not_proven_whatever_it_is_called(made: Any, tmp_path: Path) -> None:
    """The entry holds the hash of its document alone: without that, its name is anybody's."""

    async def work(s: Any, data: bytes, record: int) -> None:
        files = opened(data)
        (call,) = (n for n in files if n.endswith("/call.json"))
        mapping = [n for n in files if n.startswith("mappings/")]
        digest = verify.json.loads(files[call])["mapping"].partition("@")[2]
        for name in ("public_service.filing", "ministry.learner"):
            bare = forged(files, changed(files, call, mapping=f"{name}@{digest}"), *mapping)
            (what,) = verify.check(bare).unproven
            assert digest in what and "not in the pack" in what
            with pytest.raises(verify.NotProven):
                verify.check(bare, str(verify.check(bare).anchor))
            code, told = verified(bare, tmp_path)
            assert code == 3 and f"mappings/{digest} ({name})" in told and "✔ ĐÃ CHỨNG MINH" not in told, told
        with pytest.raises(verify.Altered, match="the calls name another map"):
            verify.check(forged(files, changed(files, call, mapping=f"ministry.learner@{digest}")))

    made(work)


def test_an_approved_code_makes_another_version_and_each_request_keeps_its_own(stage: Any, items: Any) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("learner", items.learner("3100000001"))
            await s.push("learner", items.learner("3100000002", ethnicity="Người Hành Tinh"))
            await s.work()
            await s.settled(delivered=1, parked=1)
            (task,) = await s.led.rows("SELECT data FROM tasks WHERE state = 'open'")
            wanted = {k: task["data"][k] for k in ("source_system", "code", "target_system")}
            await operations.approve_code(s.core, "lan", **wanted, canonical="01", why="thử nghiệm")
            await s.settled(delivered=2)
            versions = []
            for key in ("3100000001", "3100000002"):
                _, mapping, approvals = await _packed(s, key)
                versions.append((mapping, [a["code"] for a in approvals]))
            assert versions[0][0] != versions[1][0] and [v[1] for v in versions] == [[], ["Người Hành Tinh"]], versions

    asyncio.run(go())


def test_a_wrong_approval_is_corrected_by_a_later_one_and_each_request_tells_what_it_went_by(
    stage: Any, items: Any
) -> None:
    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            went: list[tuple[str, list[tuple[str, str]]]] = []
            for count, canonical in enumerate(("01", "02"), 1):
                await operations.approve_code(
                    s.core, "lan", "vn-ethnicity", "Xa lạ", "vn-ethnicity", canonical, "thử nghiệm"
                )
                key = f"310000000{count}"
                await s.push("learner", items.learner(key, ethnicity="Xa lạ"))
                await s.work()
                await s.settled(delivered=count)
                files, _, approvals = await _packed(s, key)
                learner = verify.json.loads(files["record/canonical.json"])
                went.append((learner["ethnicity"]["canonical"], [(a["code"], a["canonical"]) for a in approvals]))
            assert went == [("01", [("Xa lạ", "01")]), ("02", [("Xa lạ", "02")])], went
            assert await s.led.value("SELECT count(*) FROM approved_codes") == 2
            # What came before keeps its meaning until it is corrected: as it was pushed is enough.
            first = await evidence.find(s.core, "3100000001", "learner")
            pushed = corrections.as_pushed((await corrections.original(s.core, first))["body"])
            await corrections.edit_and_resend(s.core, "lan", first, pushed, "thử nghiệm lại", EVERYWHERE)
            await s.settled(delivered=3)
            last = await evidence.find(s.core, "3100000001", "learner")
            body = (await corrections.original(s.core, last))["body"]
            assert last != first and body["ethnicity"]["canonical"] == "02"

    asyncio.run(go())


def test_what_is_sent_again_names_what_mapped_the_very_bytes(stage: Any, items: Any) -> None:
    """As it was sent: by the version of then. Mapped anew: by the one in force."""

    async def go() -> None:
        async with stage() as s:
            await s.ministry()
            await s.push("learner", items.learner("3100000001"))
            await s.work()
            await s.settled(delivered=1)
            await operations.approve_code(s.core, "lan", "vn-ethnicity", "Xa lạ", "vn-ethnicity", "01", "thử nghiệm")
            named: list[str] = []
            for count, mode in enumerate(("as_sent", "remap"), 2):
                (last,) = await s.led.rows("SELECT max(id) AS id FROM deliveries_closed")
                order = replays.ReplayFilter(deliveries=[last["id"]], states=[State.DELIVERED])
                assert (await replays.replay(s.core, "lan", order, mode, "thử nghiệm")).queued == 1
                await s.settled(delivered=count)
                rows = await s.led.rows("SELECT id, mapping FROM calls ORDER BY id")
                named = [r["mapping"] for r in rows]
            assert len(named) == 3 and named[0] == named[1] != named[2]
            record = await evidence.find(s.core, "3100000001", "learner")
            found = await evidence.gather(s.core, record, EVERYWHERE)
            assert found is not None
            checked = verify.check(pack(found))
            assert checked.state == "proven" and any("3/3 lời gọi" in line for line in checked.lines), checked.lines

    asyncio.run(go())


def test_a_call_named_before_versions_were_kept_is_proven_without_one(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "digest_of", lambda mapping: b"")

    async def work(s: Any, data: bytes, record: int) -> None:
        files = opened(data)
        assert all("mapping" not in o for o in verify.json.loads(files["timeline.json"])["outcomes"])
        await s.led.owner.execute(
            "UPDATE hub.calls SET mapping = 'public_service.filing@0123456789abcdef+0123456789abcdef'"
        )
        found = await evidence.gather(s.core, record, EVERYWHERE)
        assert found is not None
        older = pack(found)
        checked = verify.check(older)
        assert checked.state == "proven" and any("0/1 lời gọi" in line for line in checked.lines), checked.lines
        assert not any(n.startswith("mappings/") for n in opened(older))
        # Nor can a mapping be written into it: no entry speaks of it.
        timeline = verify.json.loads(opened(older)["timeline.json"])
        timeline["outcomes"][0]["mapping"] = "00" * 32
        with pytest.raises(verify.Altered, match="another outcome"):
            verify.check(forged(opened(older), {"timeline.json": verify.written(timeline)}))

    made(work)
