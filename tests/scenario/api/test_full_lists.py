"""Full lists, archives of workbooks, and lists taken out: what a school says it has, and what the hub has of it."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from typing import Any

import openpyxl

from tests.scenario.api.test_workbooks import S1, S2, XLSX, book, row

NDJSON = "application/x-ndjson"


def lines(*items: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(i, ensure_ascii=False).encode() for i in items)


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def kept(ledger: Any) -> dict[str, list[str]]:
    """The schools' sides as they stand: keys by school."""

    async def look() -> dict[str, list[str]]:
        async with ledger() as led:
            found: dict[str, list[str]] = {}
            for r in await led.rows("SELECT school, key FROM roster_rows ORDER BY school, key"):
                found.setdefault(r["school"], []).append(r["key"])
            return found

    return asyncio.run(look())


def test_a_full_push_is_the_schools_side_without_being_asked_again(
    gateway: Any, ledger: Any, make_learner: Any
) -> None:
    with gateway.client("key-of-school-1", **{"Content-Type": NDJSON}) as c:
        assert c.post("/v1/messages/learner", content=lines(make_learner("FL0"))).status_code == 202
        assert kept(ledger) == {}, "a push that does not say so is no full list"
        items = [make_learner(f"FL{n}") for n in range(1, 251)]  # three chunks; FL0 is not in it
        told = c.post("/v1/messages/learner?full=true", content=lines(*items)).json()
        (roster,) = told["full_list"]["rosters"]
        assert told["full_list"]["kept"] and told["records"] == 250
        assert (roster["school"], roster["count"]) == (S1, 250)
        assert (roster["missing_here"], roster["missing_there"], roster["differs"]) == (0, 1, 0)
        assert roster["items"] == [{"key": "FL0", "class": "", "kind": "missing_there"}]
        assert len(kept(ledger)[S1]) == 250

        # With a refused learner, or one of another school, the list is not whole: the last one stays.
        wrong = [make_learner("FL1"), make_learner("FL2", birth_date="31/02/2014")]
        other = [make_learner("FL1"), make_learner("FL3", S2)]
        for faulty in (wrong, other):
            again = c.post("/v1/messages/learner?full=true", content=lines(*faulty)).json()
            assert not again["full_list"]["kept"] and "từ chối" in again["full_list"]["vi"] and again["rejected"] == 1
        assert len(kept(ledger)[S1]) == 250 and S2 not in kept(ledger)
        one = c.post(
            "/v1/messages/learner?full=true", json=make_learner("FL1"), headers={"Content-Type": "application/json"}
        )
        assert (one.status_code, one.json()["code"]) == (400, "no_list")
        assert c.post("/v1/messages/study_result?full=true", content=b"{}").json()["code"] == "unknown_type"


def test_broken_off_after_the_records_it_is_kept_when_sent_again(
    gateway: Any, ledger: Any, make_learner: Any, monkeypatch: Any
) -> None:
    """Killed between the last chunk and the list: the records are there, the list is not; the same push again keeps it."""
    from hub.api import rosters

    body, stolen = lines(make_learner("FB1"), make_learner("FB2")), rosters.take_roster

    async def killed(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("killed")

    headers = {"Content-Type": NDJSON, "Idempotency-Key": "dau-nam"}
    with gateway.client("key-of-school-1", **headers) as c:
        monkeypatch.setattr(rosters, "take_roster", killed)
        assert c.post("/v1/messages/learner?full=true", content=body).status_code >= 500
        assert kept(ledger) == {}
        monkeypatch.setattr(rosters, "take_roster", stolen)
        again = c.post("/v1/messages/learner?full=true", content=body)
        assert again.headers["idempotent-replayed"] == "true" and again.json()["full_list"]["kept"]
        assert kept(ledger) == {S1: ["FB1", "FB2"]}


def test_a_full_workbook_and_an_archive_of_several(gateway: Any, ledger: Any) -> None:
    with gateway.client("key-of-school-1") as c:
        one = c.post(
            "/v1/messages/learner?full=true", content=book(row("FW1"), row("FW2")), headers={"Content-Type": XLSX}
        )
        assert one.json()["full_list"]["rosters"][0]["count"] == 2 and kept(ledger) == {S1: ["FW1", "FW2"]}

        classes = {
            "lớp 6/6A1.xlsx": book(row("FZ1")),
            "../../6A2.xlsx": book(row("FZ2", lop="6A2")),
            "__MACOSX/._6A1.xlsx": b"x",
        }
        whole = c.post(
            "/v1/messages/learner?full=true", content=archive(classes), headers={"Content-Type": "application/zip"}
        )
        told = whole.json()
        assert whole.status_code == 202, whole.text
        assert [(f["name"], f["records"]) for f in told["files"]] == [("6A1.xlsx", 1), ("6A2.xlsx", 1)]
        assert told["full_list"]["rosters"][0]["count"] == 2 and kept(ledger) == {S1: ["FZ1", "FZ2"]}
        assert all(c.get(f["links"]["receipt"]).status_code == 200 for f in told["files"])

        # One bad file is told by name; the others are taken, and the list they are part of is not whole.
        mixed = archive(
            {"tốt.xlsx": book(row("FZ3")), "hỏng.xlsx": b"PK no", "đọc.txt": b"x", "tệp.csv": "Mã học sinh\n".encode()}
        )
        some = c.post(
            "/v1/messages/learner?full=true", content=mixed, headers={"Content-Type": "application/zip"}
        ).json()
        assert [f.get("code", "taken") for f in some["files"]] == [
            "taken",
            "not_a_workbook",
            "not_a_workbook",
            "no_table",
        ]
        assert some["records"] == 1 and not some["full_list"]["kept"] and kept(ledger) == {S1: ["FZ1", "FZ2"]}


def test_archives_that_are_none_or_hold_too_much(gateway: Any) -> None:
    inner = archive({"a.xlsx": b"0" * (9 * 1024 * 1024)})  # a ratio no workbook has
    locked = bytearray(archive({"a.xlsx": book(row("FX1"))}))
    locked[6] |= 1  # says it is encrypted
    locked[locked.rfind(b"PK\x01\x02") + 8] |= 1
    cases = {
        b"no zip": (422, "not_a_zip"),
        archive({}): (422, "empty"),
        archive({f"{n}.xlsx": b"x" for n in range(101)}): (413, "too_many_files"),
        archive({f"{n}.xlsx": bytes(15 * 1024 * 1024) for n in range(5)}): (413, "too_large_unpacked"),
        inner: (413, "too_large_unpacked"),
        bytes(locked): (422, "not_a_zip"),
        archive({"a.zip": archive({"b.xlsx": book(row("FX2"))})}): (422, "nothing_taken"),
    }
    with gateway.client("key-of-school-1", **{"Content-Type": "application/zip"}) as c:
        for body, wanted in cases.items():
            reply = c.post("/v1/messages/learner", content=body)
            assert (reply.status_code, reply.json()["code"]) == wanted


def test_a_list_taken_out_comes_back_without_a_change(gateway: Any, ledger: Any) -> None:
    async def allow() -> None:
        async with ledger() as led:
            await led.owner.execute(
                "UPDATE hub.clients SET rights = '{push,export}' WHERE id IN ('school-1', 'department')"
            )

    asyncio.run(allow())
    rows = [row(f"FE{n}", so=f"03121400{n:04}", ten="Trần Thị Ví Dụ") for n in range(7)]
    with gateway.client("key-of-school-1") as c:
        assert (
            c.post("/v1/messages/learner", content=book(*rows), headers={"Content-Type": XLSX}).json()["records"] == 7
        )
        asyncio.run(asyncio.sleep(4))  # clients are kept in memory for a few seconds
        assert c.get("/v1/exports/learner.xlsx").json()["code"] == "purpose_needed"
        taken = c.get("/v1/exports/learner.xlsx", params={"purpose": "Nộp báo cáo đầu năm", "school": S2})
        assert taken.status_code == 200 and S1 in taken.headers["content-disposition"], (
            "a school's own, whatever it asks"
        )
        sheet = openpyxl.load_workbook(io.BytesIO(taken.content)).worksheets[0]
        told = [[cell.value for cell in line] for line in sheet.iter_rows(min_row=2)]
        codes = [line[[c.value for c in sheet[1]].index("Mã học sinh")] for line in told]
        assert codes == [f"FE{n}" for n in range(7)]
        assert not any(cell.data_type == "f" for line in sheet.iter_rows() for cell in line)
        again = c.post("/v1/messages/learner?full=true", content=taken.content, headers={"Content-Type": XLSX}).json()
        assert (again["records"], again["rejected"], again["full_list"]["rosters"][0]["differs"]) == (7, 0, 0)
        # Codes come back by their titles, which mean the same; from then on nothing changes at all.
        second = c.get("/v1/exports/learner.xlsx", params={"purpose": "Nộp báo cáo đầu năm"})
        third = c.post("/v1/messages/learner", content=second.content, headers={"Content-Type": XLSX}).json()
        assert (third["unchanged"], third["rejected"]) == (7, 0)

    async def meant() -> None:
        async with ledger() as led:
            for r in await led.rows("SELECT array_agg(body ORDER BY version) AS bodies FROM records GROUP BY key"):
                plain = [{k: v["canonical"] if isinstance(v, dict) else v for k, v in b.items()} for b in r["bodies"]]
                assert len(plain) > 1 and all(body == plain[0] for body in plain)

    asyncio.run(meant())
    with gateway.client("key-of-department") as c:
        ask = {"purpose": "Nộp báo cáo đầu năm"}
        assert c.get("/v1/exports/learner.xlsx", params=ask).json()["code"] == "unknown_school"
        assert c.get("/v1/exports/checkin.xlsx", params=ask | {"school": S1}).json()["code"] == "no_template"
        for purpose in (
            "\0abcde",
            "Nộp\0 báo cáo",
            "Nộp \u202ebáo cáo",
            "data:image/png;base64," + "iVBORw0KGgoAAAAN" * 14,
        ):
            refused = c.get("/v1/exports/learner.xlsx", params={"purpose": purpose, "school": S1})
            assert (refused.status_code, refused.json()["code"]) == (422, "purpose_needed"), purpose
        assert c.get("/v1/exports/learner.xlsx", params=ask | {"school": S1}).status_code == 200
    with gateway.client("key-of-school-2") as c:
        assert c.get("/v1/exports/learner.xlsx", params=ask).json()["code"] == "missing_right"

    async def said() -> None:
        async with ledger() as led:
            lines = await led.rows("SELECT actor, data FROM journal WHERE kind = 'export' ORDER BY id")
            who = [(r["actor"], r["data"]["school"], r["data"]["purpose"]) for r in lines]
            own, all_ = ("client:school-1", S1, ask["purpose"]), ("client:department", S1, ask["purpose"])
            assert who == [own, own, all_]

    asyncio.run(said())
