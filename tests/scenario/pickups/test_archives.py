"""A ZIP of workbooks left in a connector's folder: each workbook taken like a file of its own, each one's errors under its name."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from connectors.transports.pickup import Inbox
from hub.api import workbooks
from hub.kernel.ledger import intake
from hub.kernel.ledger import pickups as lines
from hub.worker.pickups import Pickups
from tests.scenario.pickups.test_pickups import book, names, records, row


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def overdue(root: Path) -> None:
    """The claims of long ago."""
    for one in (root / "claimed").iterdir():
        one.rename(one.with_name("1000000000-" + one.name.partition("-")[2]))


def test_each_workbook_is_taken_and_its_errors_are_told_under_its_name(folder: Any) -> None:
    async def work(s: Any, taker: Pickups, root: Path) -> None:
        held = {
            "khối 6/6A1.xlsx": book(row("ZA1"), row("ZA2", born="30/02/2014")),
            "khối 7/6A1.xlsx": book(row("ZA3", born="?")),
            "../../6A2.xlsx": book(row("ZA4")),
            "hỏng.xlsx": b"PK no",
            "đọc.txt": b"x",
            "__MACOSX/._6A1.xlsx": b"x",
        }
        (root / "in" / "lop-6.zip").write_bytes(archive(held))
        assert await taker.work(60) == 1
        assert await records(s) == ["ZA1", "ZA4"]
        assert names(root, "in") == names(root, "claimed") == [] and len(names(root, "done")) == 1
        first, second, note = names(root, "failed")
        assert first.startswith("lop-6-001-6A1-") and second.startswith("lop-6-002-6A1-"), "two of one name, apart"
        for name, cell in ((first, "D3"), (second, "D2")):
            marked = openpyxl.load_workbook(root / "failed" / name)
            assert "dd/mm/yyyy" in marked.worksheets[0][cell].comment.text
        told = (root / "failed" / note).read_text(encoding="utf-8").splitlines()
        assert [line.partition(":")[0] for line in told] == ["hỏng.xlsx"] * 2 + ["đọc.txt"] * 2
        assert "Only .xlsx and .csv" in told[3] and "Chỉ nhận" in told[2]
        (line,) = await s.led.rows("SELECT data FROM journal WHERE kind = 'file_picked'")
        assert line["data"]["rejected"] == 4 and len(line["data"]["receipts"]) == 3
        assert await taker.work(20) == 0

        # Those that cannot be taken at all, with the bounds a push by REST has.
        locked = bytearray(archive({"a.xlsx": book(row("ZB1"))}))
        locked[6] |= 1
        locked[locked.rfind(b"PK\x01\x02") + 8] |= 1
        refused = {
            "a.zip": (b"no zip", "không phải ZIP"),
            "b.zip": (archive({}), "không có sổ tính"),
            "c.zip": (archive({f"{n}.xlsx": b"x" for n in range(101)}), "hơn 100 tệp"),
            "d.zip": (archive({"a.xlsx": b"0" * (9 << 20)}), "quá lớn"),
            "e.zip": (bytes(locked), "mật khẩu"),
            "f.zip": (archive({"a.zip": archive({"b.xlsx": book(row("ZB2"))})}), "a.zip: Chỉ nhận"),
            "g.zip": (bytes(workbooks.FILE_MAX + 1), "lớn hơn"),
        }  # fmt: skip
        for name, (body, _) in refused.items():
            (root / "in" / name).write_bytes(body)
        assert await taker.work(60) == 0
        assert await records(s) == ["ZA1", "ZA4"] and names(root, "claimed") == []
        for name, (_, why) in refused.items():
            (reason,) = (f for f in (root / "failed").iterdir() if f.name.endswith(f"-{name}.txt"))
            said = reason.read_text(encoding="utf-8")
            assert why in said and len(said.splitlines()) == 2, (name, said)

    folder(work)


class Killed(BaseException):
    pass


def test_killed_at_any_step_nothing_is_lost_and_nothing_there_twice(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each thing done to the ledger and the folder, once, until a ZIP gets through unharmed."""
    steps = [(intake, "open_upload"), (intake, "accept"), (intake, "finish_upload"), (lines, "said")]
    steps += [(Inbox, "claim"), (Inbox, "report"), (Inbox, "confirm")]

    async def work(s: Any, taker: Pickups, root: Path) -> None:
        real = [getattr(where, name) for where, name in steps]
        died = 0
        while True:
            left = died

            def reached() -> None:
                nonlocal left
                left -= 1
                if left == -1:
                    raise Killed

            def dying(work: Any) -> Any:
                async def done(*given: Any, **more: Any) -> Any:
                    reached()
                    found = await work(*given, **more)
                    reached()
                    return found

                return done

            held = {
                "6A1.xlsx": book(row(f"K{died:02}A"), row(f"K{died:02}X", born="?")),
                "6A2.xlsx": book(row(f"K{died:02}B")),
                "hong.xlsx": b"PK no",
            }
            (root / "in" / f"{died:02}.zip").write_bytes(archive(held))
            with monkeypatch.context() as patched:
                for (where, name), work_ in zip(steps, real, strict=True):
                    patched.setattr(where, name, dying(work_))
                try:
                    assert await taker.work(60) == 1
                except Killed:
                    harmed = True
                else:
                    harmed = False
            if harmed:
                overdue(root)
                left_there = len(names(root, "in")) + len(names(root, "claimed"))
                assert await taker.work(60) == left_there <= 1
            assert names(root, "in") == names(root, "claimed") == []
            died += 1
            if not harmed:
                break
        wanted = sorted(f"K{n:02}{c}" for n in range(died) for c in "AB")
        assert await records(s) == wanted, "each once"
        kinds = await s.led.rows("SELECT disposition, count(*) AS n FROM records GROUP BY disposition")
        assert [(r["disposition"], r["n"]) for r in kinds] == [(1, len(wanted))]
        assert len(names(root, "done")) == died and len(names(root, "failed")) == 2 * died, "a sheet and a note each"
        assert died > 20, "each step had its turn"

    folder(work)
