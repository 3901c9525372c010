"""Files picked up, from SFTP and from a folder: each once, under its key, whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from connectors.connector import LiveConnector, build
from connectors.settings import validate
from connectors.transports.pickup import Inbox, Lost, Picked
from hub.kernel.ports import NotSent, Text
from tests.contract.connectors import file_places as places

LOCAL = places.LOCAL
Place = places.Place
place = places.place
run = places.run
sftp = places.sftp
sha = places.sha


def offer(place: Place, name: str, body: bytes, checksum: str | None = "right", changed: float = 1_789_999_000) -> None:
    folder = place.root / "in"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(body)
    os.utime(folder / name, (changed, changed))
    if checksum is not None:
        line = sha(body) if checksum == "right" else checksum
        (folder / f"{name}.sha256").write_text(f"{line}  {name}\n")


def inbox_of(connector: LiveConnector) -> Inbox:
    inbox = connector.inbox()
    assert inbox is not None
    return inbox


async def take(inbox: Inbox) -> list[Picked]:
    picked = [await inbox.claim(o) for o in await inbox.ready()]
    return [p for p in picked if p is not None]


def test_a_file_is_taken_once_and_put_away_after_confirming(place: Place) -> None:
    offer(place, "b.csv", b"hai", changed=1_789_999_900)
    offer(place, "a.csv", b"mot")
    offer(place, "chua-xong.csv", b"...", checksum=None)
    offer(place, "dang-tai.part", b"...")
    offer(place, ".an", b"...")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        assert [o.name for o in await inbox.ready()] == ["a.csv", "b.csv"]
        got = await take(inbox)
        assert [(p.name, p.body, p.sha256) for p in got] == [
            ("a.csv", b"mot", sha(b"mot")),
            ("b.csv", b"hai", sha(b"hai")),
        ]
        assert await inbox.ready() == []
        assert set(place.files("claimed")) == {p.path.rpartition("/")[2] for p in got}
        for picked in got:
            await inbox.confirm(picked)
        assert sorted(place.files("done").values()) == [b"hai", b"mot"] and place.files("claimed") == {}
        assert set(place.files("in")) == {"chua-xong.csv", "dang-tai.part", "dang-tai.part.sha256", ".an", ".an.sha256"}
        await inbox.confirm(got[0])  # a confirmation whose answer was lost is made again

    run(use, place.connector())


def test_a_report_is_put_beside_what_was_refused_once_and_whole(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        await inbox.report("a-loi.xlsx", b"mot")
        await inbox.report("a-loi.xlsx", b"mot")
        assert place.files("failed") == {"a-loi.xlsx": b"mot"}

    run(use, place.connector())


def test_a_file_to_be_deleted_is_deleted_once_and_confirmed_as_often_as_asked(place: Place) -> None:
    offer(place, "a.csv", b"mot")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        (picked,) = await take(inbox)
        for _ in range(2):
            await inbox.confirm(picked)
        assert place.files("in") == place.files("claimed") == place.files("done") == {}

    run(use, place.connector(after="delete"))


def test_two_takers_get_each_file_once(place: Place) -> None:
    for n in range(10):
        offer(place, f"{n}.csv", b"%d" % n)

    async def go() -> list[bytes]:
        connectors = [place.connector() for _ in range(2)]
        try:
            taken = await asyncio.gather(*(take(inbox_of(c)) for c in connectors))
            return sorted(p.body for some in taken for p in some)
        finally:
            for c in connectors:
                await c.close()

    assert asyncio.run(go()) == [b"%d" % n for n in range(10)]


def test_what_a_killed_taker_left_comes_again_under_the_same_key(place: Place) -> None:
    offer(place, "a.csv", b"mot")

    async def killed(c: LiveConnector) -> Picked:
        return (await take(inbox_of(c)))[0]

    first = run(killed, place.connector())
    place.clock.now += 100

    async def too_early(c: LiveConnector) -> None:
        assert await inbox_of(c).ready() == []

    run(too_early, place.connector())
    place.clock.now += 1000

    async def again(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        (second,) = await take(inbox)
        assert second.key == first.key and second.body == b"mot" and second.again and second.path != first.path
        with pytest.raises(Lost):
            await inbox.confirm(first)  # the first taker wakes up: its claim is gone
        await inbox.confirm(second)
        assert place.files("in") == {} and len(place.files("done")) == 1

    run(again, place.connector())


def test_the_same_content_coming_back_later_is_another_fact(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        inbox, keys = inbox_of(c), []
        for changed in (1_789_000_000, 1_789_500_000):
            offer(place, "a.csv", b"mot", changed=changed)
            (picked,) = await take(inbox)
            keys.append(picked.key)
            await inbox.confirm(picked)
        assert len(set(keys)) == 2 and len(place.files("done")) == 2

    run(use, place.connector())


def test_damaged_files_are_put_aside_with_a_reason_and_others_go_on(place: Place) -> None:
    offer(place, "sai.csv", b"mot", checksum="0" * 64)
    offer(place, "rong.csv", b"hai", checksum="")
    offer(place, "to.csv", b"x" * 5000)
    offer(place, "t" * 230 + ".csv", b"dai")
    offer(place, "dung.csv", b"ba")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        assert [p.name for p in await take(inbox)] == ["dung.csv"]
        assert {d.code for d in inbox.damaged} == {"checksum", "too_large", "name_too_long"} and len(inbox.damaged) == 4
        reasons = [b for n, b in place.files("failed").items() if n.endswith(".txt")]
        assert len(reasons) == 4 and all(len(r.decode().splitlines()) == 2 for r in reasons)
        assert {n for n in place.files("in") if not n.startswith("t" * 9)} == {"dung.csv.sha256"}

    run(use, place.connector(max_file_bytes=2000))


def test_without_checksums_a_file_is_whole_when_it_stops_growing(place: Place) -> None:
    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        offer(place, "a.csv", b"mo", checksum=None)
        assert await inbox.ready() == []
        await asyncio.sleep(0.25)
        offer(place, "a.csv", b"mot", checksum=None)
        assert await inbox.ready() == []  # it has grown: the time starts anew
        await asyncio.sleep(0.35)
        (picked,) = await take(inbox)
        assert picked.body == b"mot"
        await inbox.release(picked)
        assert place.files("in") == {"a.csv": b"mot"}
        (picked,) = await take(inbox)
        await inbox.refuse(picked, Text("Sai mẫu", "Wrong form"))
        assert any(b"Wrong form" in b for b in place.files("failed").values())

    run(use, place.connector(checksum="none", stable_s=0.3))


def test_files_are_deleted_only_once_confirmed_and_only_the_asked_for_names(place: Place) -> None:
    offer(place, "ds-1.csv", b"mot")
    offer(place, "khac.csv", b"hai")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        (picked,) = await take(inbox)
        assert place.files("claimed")
        await inbox.confirm(picked)
        assert place.files("claimed") == {} and place.files("done") == {}
        assert set(place.files("in")) == {"khac.csv", "khac.csv.sha256"}

    run(use, place.connector(after="delete", pick="ds-*.csv"))


def test_links_and_folders_are_no_files(tmp_path: Path) -> None:
    root, secret = tmp_path / "goc", tmp_path / "bi-mat"
    (root / "in").mkdir(parents=True)
    secret.write_bytes(b"bi mat")
    (root / "in" / "a.csv").symlink_to(secret)
    (root / "in" / "b.csv").mkdir()
    os.mkfifo(root / "in" / "c.csv")

    async def use(c: LiveConnector) -> None:
        await asyncio.sleep(0.01)
        inbox = inbox_of(c)
        await inbox.ready()
        assert await inbox.ready() == []

    run(use, Place("folder", root, None).connector(checksum="none", stable_s=0))


def test_a_place_away_is_not_sent_and_comes_back(sftp: Place) -> None:
    offer(sftp, "a.csv", b"mot")

    async def use(c: LiveConnector) -> None:
        inbox = inbox_of(c)
        sftp.book.faults.at, sftp.book.faults.how = "list", "drop"
        with pytest.raises(NotSent):
            await inbox.ready()
        assert [p.body for p in await take(inbox)] == [b"mot"]

    run(use, sftp.connector())


def test_other_connectors_have_no_inbox() -> None:
    settings = {"name": "a", "system": "b", "transport": {"kind": "rest", "base_url": "http://x.vn"}}
    assert build(validate(settings), {}, LOCAL).inbox() is None
