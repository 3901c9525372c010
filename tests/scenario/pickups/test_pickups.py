"""Files left in a connector's folder: taken once each, put away after the commit, and given back with their errors."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any, get_args

import openpyxl
import orjson
import pytest

from connectors.address import AddressPolicy
from connectors.transports.files_settings import Takes
from hub.api.intake import PUSHED
from hub.worker import pickups
from hub.worker.pickups import Pickups

SCHOOL = "31HP0123001"
HEADERS = ["Mã lớp", "Mã học sinh", "Họ tên", "Ngày sinh (dd/mm/yyyy)", "Giới tính", "Dân tộc", "Trạng thái HS"]


def row(code: str, born: str = "05/03/2014") -> list[str]:
    return ["6A1", code, "Nguyễn Văn Mẫu", born, "Nam", "Kinh", "Đang học"]


def book(*rows: list[str]) -> bytes:
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    for cells in (HEADERS, *rows):
        sheet.append(cells)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def names(root: Path, place: str) -> list[str]:
    return sorted(f.name for f in (root / place).iterdir()) if (root / place).is_dir() else []


async def records(s: Any) -> list[str]:
    return [r["key"] for r in await s.led.rows("SELECT key FROM records WHERE type = 'learner' ORDER BY key")]


def test_a_workbook_is_taken_put_away_and_its_refused_rows_given_back(folder: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        (root / "in" / "lop-6.xlsx").write_bytes(book(row("PA1"), row("PA2", born="30/02/2014"), row("PA3")))
        assert await taker.work(20) == 1
        assert await records(s) == ["PA1", "PA3"]
        assert names(root, "in") == names(root, "claimed") == [] and len(names(root, "done")) == 1
        (sheet,) = names(root, "failed")
        assert sheet.startswith("lop-6-") and sheet.endswith("-loi.xlsx")
        marked = openpyxl.load_workbook(root / "failed" / sheet)
        assert "dd/mm/yyyy" in marked.worksheets[0]["D3"].comment.text
        (line,) = await s.led.rows("SELECT data FROM journal WHERE kind = 'file_picked'")
        assert line["data"]["rejected"] == 1 and line["data"]["name"] == "lop-6.xlsx"
        assert await taker.work(20) == 0

    folder(work)


def test_batches_of_items_are_taken_each_by_itself(folder: Any, items: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        good, bad = items.learner("PB1", school_code=SCHOOL), items.learner("PB2", birth_date="khi nào")
        (root / "in" / "a.json").write_bytes(orjson.dumps([good, bad]))
        (root / "in" / "b.ndjson").write_bytes(
            b"\n".join(orjson.dumps(items.learner(f"PB{n}")) for n in range(10, 260))
        )
        (root / "in" / "c.json").write_bytes(orjson.dumps(items.learner("PB9")))
        assert await taker.work(20) == 3
        assert len(await records(s)) == 252
        (told,) = names(root, "failed")
        (fault,) = orjson.loads((root / "failed" / told).read_bytes())
        assert fault["pointer"].startswith("/1") and fault["vi"] and fault["en"]

    folder(work)


def test_files_that_cannot_be_taken_are_put_aside_with_the_reason_and_hold_nothing_up(folder: Any, items: Any) -> None:
    refused = {
        "anh.jpg": (b"\xff\xd8\xff\xe0", ".xlsx"), "b.xlsx": (b"no workbook", "sổ"), "c.json": (b"[{", "json"),
        "d.ndjson": (b"\n\n", "không có bản ghi"), "e.csv": (b"", ""), "f.json": (b"{" + b" " * 2_000_000 + b"}", "vượt quá"),
    }  # fmt: skip

    async def work(s: Any, taker: Pickups, root: Path) -> None:
        for name, (body, _) in refused.items():
            (root / "in" / name).write_bytes(body)
        (root / "in" / "z.json").write_bytes(orjson.dumps(items.learner("PC1")))
        assert await taker.work(20) == 1
        assert await records(s) == ["PC1"] and names(root, "claimed") == []
        for name, (_, why) in refused.items():
            (reason,) = (f for f in (root / "failed").iterdir() if f.name.endswith(f"-{name}.txt"))
            said = reason.read_text(encoding="utf-8")
            assert why in said.lower() and len(said.splitlines()) == 2, (name, said)
        lines = await s.led.rows("SELECT data FROM journal WHERE kind = 'file_refused'")
        assert {r["data"]["name"] for r in lines} == set(refused)

    folder(work)


def test_a_long_list_of_refused_items_is_given_back_whole(folder: Any, items: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        bad = [orjson.dumps({**items.learner(f"PE{n}"), "event": "NOTHING"}) for n in range(1200)]
        (root / "in" / "a.ndjson").write_bytes(b"\n".join(bad))
        assert await taker.work(60) == 1
        (told,) = names(root, "failed")
        assert len(orjson.loads((root / "failed" / told).read_bytes())) == 1200
        (line,) = await s.led.rows("SELECT data FROM journal WHERE kind = 'file_picked'")
        assert line["data"]["rejected"] == 1200

    folder(work)


def test_what_one_counterparty_piles_up_keeps_no_other_waiting(stage: Any, items: Any, tmp_path: Path) -> None:
    async def go() -> None:
        async with stage() as s:
            roots = []
            for name in ("mot", "hai"):
                root = tmp_path / name
                (root / "in").mkdir(parents=True)
                given = {
                    "kind": "folder",
                    "path": str(root),
                    "takes": "learner",
                    "school": SCHOOL,
                    "checksum": "none",
                    "stable_s": 0,
                }
                await s.led.connector(name, "ministry", {"name": name, "system": "ministry", "transport": given}, {})
                roots.append(root)
            await s.house.refresh()
            for n in range(60):
                (roots[0] / "in" / f"{n:03}.json").write_bytes(orjson.dumps(items.learner(f"PF{n}")))
            (roots[1] / "in" / "z.json").write_bytes(orjson.dumps(items.learner("PG1")))
            taker = Pickups(s.house, AddressPolicy([], roots))
            try:
                await taker.work(0.2)  # too short for the first one's files
                left = len(names(roots[0], "in"))
                assert left > 0, "else it shows nothing"
                assert names(roots[1], "in") == [] and "PG1" in await records(s)
            finally:
                await taker.close()

    asyncio.run(go())


@pytest.mark.parametrize("after", ["move", "delete"])
def test_a_kill_between_commit_and_putting_away_leaves_a_repeat_that_is_recognised(
    folder: Any, monkeypatch: Any, after: str
) -> None:
    class Killed(BaseException):
        pass

    def die(name: str) -> None:
        if name == "pickup.committed":
            raise Killed

    async def work(s: Any, taker: Pickups, root: Path) -> None:
        (root / "in" / "a.xlsx").write_bytes(book(row("PD1"), row("PD2", born="?")))
        with monkeypatch.context() as patched:
            patched.setattr(pickups, "reach", die)
            with pytest.raises(Killed):
                await taker.work(20)
        assert await records(s) == ["PD1"] and len(names(root, "claimed")) == 1
        # Nobody takes what is claimed before its claim has ended.
        assert await taker.work(20) == 0
        (claimed,) = (root / "claimed").iterdir()
        old = claimed.with_name("1" + claimed.name[1:].replace(claimed.name.split("-")[0][1:], "0" * 9, 1))
        claimed.rename(old)
        assert await taker.work(20) == 1
        assert await records(s) == ["PD1"]
        assert names(root, "claimed") == [] and len(names(root, "done")) == (1 if after == "move" else 0)
        assert len(names(root, "failed")) == 1, "the sheet of errors, once"
        kinds = await s.led.rows("SELECT disposition, count(*) AS n FROM records GROUP BY disposition")
        assert [(r["disposition"], r["n"]) for r in kinds] == [(1, 1)]

    folder(work, after=after)


def test_a_kill_between_two_chunks_leaves_the_committed_ones_and_the_repeat_brings_the_rest(
    folder: Any, items: Any, monkeypatch: Any
) -> None:
    class Killed(BaseException):
        pass

    died: list[str] = []

    def die(name: str) -> None:
        if name == "pickup.chunk" and not died:
            died.append(name)
            raise Killed

    async def work(s: Any, taker: Pickups, root: Path) -> None:
        size = s.house.settings.intake.chunk
        wanted = [f"PK{n:05}" for n in range(size + 7)]
        (root / "in" / "a.ndjson").write_bytes(b"\n".join(orjson.dumps(items.learner(code)) for code in wanted))
        with monkeypatch.context() as patched:
            patched.setattr(pickups, "reach", die)
            with pytest.raises(Killed):
                await taker.work(20)
        assert died == ["pickup.chunk"] and await records(s) == wanted[:size], "the first chunk, whole"
        (claimed,) = (root / "claimed").iterdir()
        claimed.rename(claimed.with_name("1" + claimed.name[1:].replace(claimed.name.split("-")[0][1:], "0" * 9, 1)))
        assert await taker.work(60) == 1
        assert await records(s) == wanted and names(root, "claimed") == []
        kinds = await s.led.rows("SELECT disposition, count(*) AS n FROM records GROUP BY disposition")
        assert [(r["disposition"], r["n"]) for r in kinds] == [(1, len(wanted))], "nothing twice"

    folder(work)


def test_while_the_database_is_away_the_file_is_given_back(folder: Any, items: Any, monkeypatch: Any) -> None:
    async def away(*_: Any) -> Any:
        raise ConnectionError("the database is away")

    async def work(s: Any, taker: Pickups, root: Path) -> None:
        (root / "in" / "a.json").write_bytes(orjson.dumps(items.learner("PE1")))
        with monkeypatch.context() as patched:
            patched.setattr(pickups.ledger, "accept", away)
            with pytest.raises(ConnectionError):
                await taker.work(20)
        assert names(root, "in") == ["a.json"] and await records(s) == []
        assert await taker.work(20) == 1 and await records(s) == ["PE1"]

    folder(work)


def test_a_file_of_another_school_brings_nothing_of_it(folder: Any, items: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        await s.led.school("31HP0999001")
        await s.house.refresh()
        (root / "in" / "a.json").write_bytes(
            orjson.dumps([items.learner("PF1"), items.learner("PF2", school_code="31HP0999001")])
        )
        assert await taker.work(20) == 1
        assert await records(s) == ["PF1"] and len(names(root, "failed")) == 1

    folder(work)


def test_a_connector_that_takes_nothing_or_is_paused_leaves_files_alone(folder: Any, items: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        (root / "in" / "a.json").write_bytes(orjson.dumps(items.learner("PG1")))
        assert await taker.work(20) == 0 and names(root, "in") == ["a.json"]

    folder(work, takes="none")


def test_the_worker_picks_up_by_itself(stage: Any, items: Any, tmp_path: Path, monkeypatch: Any) -> None:
    async def go() -> None:
        root = tmp_path / "trao-doi"
        (root / "in").mkdir(parents=True)
        (root / "in" / "a.json").write_bytes(orjson.dumps(items.learner("PH1")))
        monkeypatch.setenv("LT_OUTWARD__FOLDERS", orjson.dumps([str(root)]).decode())
        async with stage() as s:
            given = {"kind": "folder", "path": str(root), "takes": "learner", "checksum": "none", "stable_s": 0}
            await s.led.connector("tep", "ministry", {"name": "tep", "system": "ministry", "transport": given}, {})
            await s.house.refresh()
            await s.work()
            await s.until(lambda: names(root, "done"))

    asyncio.run(go())


def test_what_can_be_pushed_can_be_picked_up() -> None:
    assert set(get_args(Takes)) == {"none", *PUSHED}
