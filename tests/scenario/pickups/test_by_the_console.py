"""A connector that picks files up is made in the console, begins paused, and takes files once a person lets it go."""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from adapters import manifest as manifests
from connectors.address import AddressPolicy
from hub.worker.pickups import Pickups
from tests.scenario.console.test_beside import console


def fields(page: str) -> dict[str, str]:
    """What a browser would send of the page's last form."""
    form = page[list(re.finditer(r'<form method="post"[^>]* action="/connectors', page))[-1].start() :]
    found = {
        name: html.unescape(value)
        for tag in re.findall(r"<input[^>]*>", form)
        for name in re.findall(r' name="([^"]*)"', tag)
        for value in re.findall(r' value="([^"]*)"', tag) or [""]
    }
    for name, options in re.findall(r'<select id="[^"]*" name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.findall(r'<option value="([^"]*)" selected', options) or re.findall(r'value="([^"]*)"', options)
        found[name] = html.unescape(chosen[0])
    return found | {"why": "Xã gửi tệp từ hôm nay"}


def errors(page: str) -> dict[str, str]:
    """The sentences beside fields, by the field's id."""
    return {k: html.unescape(v) for k, v in re.findall(r'class="field-error" id="(.*?)-e">(.*?)<', page)}


def test_files_are_picked_up_by_a_connector_made_and_changed_in_the_console(
    stage: Any, items: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "trao-doi"
    monkeypatch.setenv("LT_OUTWARD__FOLDERS", orjson.dumps([str(root)]).decode())

    async def go() -> None:
        (root / "in").mkdir(parents=True)
        (root / "in" / "a.json").write_bytes(orjson.dumps(items.learner("PK1")))
        known = manifests.load_all()
        async with stage() as s, console(s.led, tmp_path, None, manifests=known) as client:
            taker = Pickups(s.house, AddressPolicy([], [root]))
            page = (await client.get("/connectors/new?system=ministry&kind=folder&scheme=bearer")).text
            form = fields(page) | {"name": "tep-cap-xa", "/transport/path": str(root), "/transport/stable_s": "0"}
            form["/transport/checksum"] = "none"
            assert (form["kind"], form["scheme"]) == ("folder", "none"), "a folder logs in by itself"
            assert not any(name.startswith("/adapter") for name in form), "and the hub says nothing there"

            # What is wrong comes back beside its field, and nothing is made.
            answer = await client.post("/connectors/new", data=form)
            assert answer.status_code == 422 and "record type of the files" in errors(answer.text)["f-transport-takes"]
            answer = await client.post("/connectors/new", data=form | {"name": "new", "/transport/takes": "learner"})
            assert answer.status_code == 422 and set(errors(answer.text)) == {"name"}
            answer = await client.post("/connectors/new", data=form | {"name": "", "/transport/path": ""})
            assert set(errors(answer.text)) == {"name", "f-transport-path"}, "all that is wrong at once"
            led = form | {"name": "ministry", "/transport/takes": "learner"}
            answer = await client.post("/connectors/new", data=led)
            assert "Flows lead to" in errors(answer.text)["f-transport-takes"], "what flows send would wait for ever"
            assert await s.led.value("SELECT count(*) FROM connectors") == 0

            answer = await client.post("/connectors/new", data=form | {"/transport/takes": "learner"})
            assert answer.status_code == 303, errors(answer.text)
            assert answer.headers["location"].startswith("/connectors/tep-cap-xa")
            (row,) = await s.led.rows("SELECT * FROM connectors")
            assert (row["state"], row["pause_cause"], row["system"], row["revision"]) == (
                "paused", "operator", "ministry", 1,
            )  # fmt: skip
            kinds = await s.led.rows("SELECT kind, actor FROM journal WHERE connector = $1", row["id"])
            assert [(k["kind"], k["actor"]) for k in kinds] == [("configure", "an")]
            assert (await client.get("/connectors/tep-cap-xa")).status_code == 200, "there at once"
            assert (
                await client.post("/connectors/new", data=form | {"/transport/takes": "learner"})
            ).status_code == 422
            assert await taker.work(5) == 0, "nothing before a person lets it go"
            await taker.close()

            # Changed by the other door, and let go.
            page = (await client.get("/connectors/tep-cap-xa/edit")).text
            assert "*.json" not in (await client.get("/connectors/tep-cap-xa")).text
            saved = await client.post("/connectors/tep-cap-xa/edit", data=fields(page) | {"/transport/pick": "*.json"})
            assert saved.status_code == 303, errors(saved.text)
            assert "*.json" in (await client.get("/connectors/tep-cap-xa")).text, "what was saved is shown at once"
            csrf = fields(page)["csrf"]
            await client.post("/connectors/tep-cap-xa/resume", data={"csrf": csrf, "why": "Đã thử kết nối tốt"})
            await s.house.refresh()
            await s.work()  # it has nothing to send there, and finds nothing wrong
            await s.until(lambda: s.led.value("SELECT count(*) = 1 FROM records WHERE key = 'PK1'"))
            await asyncio.sleep(0.3)
            assert await s.led.value("SELECT state FROM connectors") == "active"

    asyncio.run(go())


def test_a_connector_with_secrets_is_made_by_administrators_alone(ledger: Any, tmp_path: Path) -> None:
    known = manifests.load_all()

    async def go() -> None:
        async with ledger() as led, console(led, tmp_path, None, manifests=known) as client:
            page = (await client.get("/connectors/new")).text
            assert "face_gates" in page and 'name="/transport' not in page, "first which system"
            page = (await client.get("/connectors/new?system=ministry")).text
            form = fields(page) | {"name": "ministry", "/transport/base_url": "https://bo.example.vn/"}
            form |= {"/adapter/province_code": "31", "/adapter/source": "SGDDT-HP"}
            answer = await client.post("/connectors/new", data=form)
            assert answer.status_code == 422 and list(errors(answer.text)) == ["f-secrets-token"]
            form["/secrets/token"] = "bi-mat-moi"
            answer = await client.post("/connectors/new", data=form | {"/adapter/source": "a\0b"})
            assert answer.status_code == 422 and "bi-mat-moi" not in answer.text
            assert list(errors(answer.text)) == ["f-adapter-source", "f-secrets-token"], (
                "and the secret is to be typed again"
            )
            assert (await client.post("/connectors/new", data=form)).status_code == 303
            (row,) = await led.rows("SELECT * FROM connectors")
            assert led.keys.decrypt(row["secrets"], b"ministry") == b'{"token": "bi-mat-moi"}'
            assert "bi-mat-moi" not in str(row["settings"])
            assert (await client.get("/connectors/new?system=none")).status_code == 404
            await led.owner.execute("UPDATE users SET role = 'operator' WHERE name = 'an'")
            assert (await client.get("/connectors/new")).status_code == 403
            assert (await client.post("/connectors/new", data=form | {"name": "b"})).status_code == 403
            assert await led.value("SELECT count(*) FROM connectors") == 1

    asyncio.run(go())
