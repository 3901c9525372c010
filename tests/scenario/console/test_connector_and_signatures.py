"""A connector that does not fit its system is refused beside its field; what was found on a document's signatures is shown."""

from __future__ import annotations

import asyncio
import html
import re
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

import connectors.settings as connector_settings
from adapters import manifest as manifests
from hub.kernel.documents import PDF
from hub.kernel.intake import Arrival, Source
from hub.kernel.ledger import files
from hub.kernel.ledger.intake import accept
from hub.signatures import ALTERED, ARCHIVE_OLD, UNTRUSTED, Signature, Verdict
from tests.browser.seed import _draft, filing
from tests.scenario.console.test_beside import console

SCHOOL = "31HP0000001"


def field_error(page: str, id_: str) -> str:
    """The sentence beside the field whose error has this id."""
    found = re.search(rf'class="field-error" id="{id_}">(.*?)<', page)
    return html.unescape(found[1]) if found else ""


def test_a_transport_or_scheme_that_does_not_fit_is_refused_beside_its_field(ledger: Any, tmp_path: Path) -> None:
    given = {
        "name": "ministry", "system": "ministry", "transport": {"kind": "rest", "base_url": "https://bo.example.vn/"},
        "auth": {"scheme": "bearer"}, "adapter": {"province_code": "31", "source": "SGDDT-HP"},
    }  # fmt: skip
    known = {"ministry": manifests.load("ministry")}
    sent = {
        "revision": "1",
        "/transport/base_url": "https://bo.example.vn/",
        "/adapter/province_code": "31",
        "/adapter/source": "SGDDT-HP",
        "why": "Bộ đổi địa chỉ nhận",
    }

    async def go() -> None:
        async with ledger() as led, console(led, tmp_path, None, manifests=known) as client:
            stored = connector_settings.dump(connector_settings.validate(given))
            await led.connector("ministry", "ministry", stored, {"token": "bi-mat"})
            page = (await client.get("/connectors/ministry/edit")).text
            (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', page))

            async def save(kind: str, scheme: str) -> tuple[int, str]:
                form = {**sent, "csrf": csrf, "kind": kind, "scheme": scheme}
                answer = await client.post("/connectors/ministry/edit", data=form)
                return answer.status_code, answer.text

            for lang, transport, way in (
                ("vi", "không dùng soap; dùng được: rest", "không dùng none; dùng được: bearer"),
                ("en", "does not take soap; these fit: rest", "does not take none; these fit: bearer"),
            ):
                client.cookies = {"lt_session": client.cookies["lt_session"], "lt_lang": lang}
                status, page = await save("soap", "none")
                assert status == 422
                assert transport in field_error(page, "w-kind") and way in field_error(page, "w-scheme"), page
                status, page = await save("rest", "none")
                assert status == 422 and not field_error(page, "w-kind") and way in field_error(page, "w-scheme")
                status, page = await save("soap", "bearer")
                assert status == 422 and transport in field_error(page, "w-kind") and not field_error(page, "w-scheme")
            assert await led.value("SELECT revision FROM connectors") == 1, "nothing of it was stored"
            assert (await save("rest", "bearer"))[0] == 303
            assert await led.value("SELECT revision FROM connectors") == 2

    asyncio.run(go())


def test_a_secret_typed_in_a_form_that_is_refused_is_asked_for_again(ledger: Any, tmp_path: Path) -> None:
    sent = {
        "kind": "rest", "scheme": "bearer", "/transport/base_url": "https://bo.example.vn/", "/adapter/province_code": "31", "/adapter/source": "S",
    }  # fmt: skip
    place, secret = "f-secrets-token-e", "mới-và-riêng"
    given = {
        "name": "ministry", "system": "ministry", "transport": {"kind": "rest", "base_url": sent["/transport/base_url"]}, "auth": {"scheme": "bearer"},
        "adapter": {"province_code": "31", "source": "S"},
    }  # fmt: skip

    async def go() -> None:
        known = {"ministry": manifests.load("ministry")}
        async with ledger() as led, console(led, tmp_path, None, manifests=known) as client:
            stored = connector_settings.dump(connector_settings.validate(given))
            await led.connector("ministry", "ministry", stored, {"token": "bi-mat"})
            form = sent | {"csrf": await led.value("SELECT csrf FROM sessions"), "why": "Bộ đổi khóa truy cập"}
            edit = ("/connectors/ministry/edit", form | {"revision": "1"})
            new = ("/connectors/new", form | {"system": "ministry", "name": "bo-khac"})
            for lang, told in (
                ("vi", "Bí mật vừa nhập không được giữ lại: hãy nhập lại."),
                ("en", "The secret just typed was not kept: type it again."),
            ):
                client.cookies = {"lt_session": client.cookies["lt_session"], "lt_lang": lang}
                for path, whole in (edit, new):
                    for wrong in (
                        {"why": "ngắn"},
                        {"/transport/base_url": "khong"},
                        {"/policy/quota/per_second": "nhiều"},
                    ):
                        answer = await client.post(path, data=whole | wrong | {"/secrets/token": secret})
                        assert answer.status_code == 422 and field_error(answer.text, place) == told, (path, wrong)
                        assert secret not in answer.text, "it is never shown again"
                for wrong in ({"why": "ngắn"}, {"revision": "7"}):
                    answer = await client.post(edit[0], data=edit[1] | wrong)
                    assert answer.status_code == 422 and not field_error(answer.text, place), "none was typed"
                answer = await client.post(edit[0], data=edit[1] | {"revision": "7", "/secrets/token": secret})
                assert field_error(answer.text, place) == told
            assert await led.value("SELECT revision FROM connectors") == 1
            assert (await client.post(edit[0], data=edit[1] | {"/secrets/token": secret})).status_code == 303

    asyncio.run(go())


def signature(**more: Any) -> Signature:
    return Signature(
        form="PAdES", signer="<b>Trần Thị Ví Dụ</b>", issuer="CA thử", serial="1", signed_at="2026-09-07T08:00:00+07:00", **more
    )  # fmt: skip


CARDS = [
    ("vi", "Chữ ký trên tài liệu", {"good": "Hợp lệ", "bad": "Không hợp lệ", "unsigned": "Không có chữ ký"}),
    ("en", "Signatures on documents", {"good": "Holds", "bad": "Does not hold", "unsigned": "Not signed"}),
]
TOLD = {
    "vi": ("người ký ghi", "dấu thời gian chứng minh đã ký trước"),
    "en": ("signer says", "time stamp proves signed by"),
}
ELSEWHERE = {"vi": "Không kiểm tra: lưu ở nơi khác", "en": "Not checked: kept elsewhere"}
CHIP = {"good": "s-delivered", "bad": "s-parked", "unsigned": ""}


@pytest.mark.parametrize(("lang", "title", "words"), CARDS)
def test_what_was_found_on_the_documents_of_a_filing_is_on_its_page(
    ledger: Any, tmp_path: Path, lang: str, title: str, words: dict[str, str]
) -> None:
    verdicts = {
        "good": Verdict(signatures=(signature(stamped_at="2026-09-07T01:00:05+00:00", notes=(ARCHIVE_OLD,)),)),
        "bad": Verdict(signatures=(signature(), signature(problems=(ALTERED, UNTRUSTED)))),
        "unsigned": Verdict(),
    }
    kept = {state: uuid.uuid4() for state in verdicts}

    async def go() -> None:
        async with ledger() as led:
            await led.school(SCHOOL)
            source = Source("client", "mot-cua")
            for state, file in kept.items():
                told = msgspec.to_builtins(verdicts[state].signatures)
                if state == "bad":  # as it was kept before time stamps were read
                    told = [{k: v for k, v in one.items() if k not in ("stamped_at", "notes")} for one in told]
                found = verdicts[state].state, told or None
                await files.keep(led.core, source, file, SCHOOL, PDF, "Đơn.pdf", b"%PDF-1.7", led.keys.encrypt, found)
            item, plain = filing(1, SCHOOL), filing(2, SCHOOL)
            item["data"]["attachments"] = [
                {"id": f"TL-{n}", "name": "Đơn.pdf", "file": file.hex} for n, file in enumerate(kept.values())
            ]
            item["data"]["results"] = [{"name": "Quyết định.pdf", "url": "https://kho.example.invalid/1?khoa=rieng"}]
            drafts = [_draft(led.core, "filing", i, f"/{n}") for n, i in enumerate((item, plain))]
            arrival = Arrival(
                source=source, type="filing", body=b"[]", content_type="application/json", digest=b"d" * 32, school=SCHOOL, drafts=drafts
            )  # fmt: skip
            await accept(led.core, [arrival])
            signed, other = [r["id"] for r in await led.rows("SELECT id FROM records ORDER BY key")]
            async with console(led, tmp_path, None) as client:
                client.cookies = {"lt_session": client.cookies["lt_session"], "lt_lang": lang}
                page = (await client.get(f"/records/{signed}")).text
                assert "<b>Trần" not in page and "&lt;b&gt;Trần Thị Ví Dụ" in page, (
                    "a signer's name is text, never markup"
                )
                assert title not in (await client.get(f"/records/{other}")).text, "no documents, no card"
            card = page[page.index(f"<h2>{title}</h2>") :].split("</section>")[0]
            *told, elsewhere = card.split("<li>")[1:]
            lines = {line[6:14]: line for line in told}
            assert len(lines) == 3
            assert f'<code>results/0</code> <span class="chip s-waiting">{ELSEWHERE[lang]}</span>' in elsewhere
            assert "rieng" not in elsewhere, "an address may open the document"
            for state, file in kept.items():
                line = lines[file.hex[:8]]
                assert f'<span class="chip {CHIP[state]}">{words[state]}</span>' in line
                assert [getattr(p, lang) in line for p in (ALTERED, UNTRUSTED)] == [state == "bad"] * 2
                assert (getattr(ARCHIVE_OLD, lang) in line) == (state == "good")
                assert line.count("PAdES · ") == len(verdicts[state].signatures)
                claimed, proved = TOLD[lang]
                shown = re.sub("<time[^>]*>|</time>", "", line)
                assert shown.count(f"{claimed} 07/09/2026 08:00:00") == len(verdicts[state].signatures)
                assert (f"{proved} 07/09/2026 08:00:05" in shown) == (state == "good") == (proved in shown)

    asyncio.run(go())
