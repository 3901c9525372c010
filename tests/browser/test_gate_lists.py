"""People sent to gates, pictures kept for a purpose and a gate's new secret, in a real browser."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import pytest

from hub.kernel.ledger.gate_pictures import place_of
from tests.browser.test_gates import looked_at


def png(size: int = 120) -> bytes:
    """A picture of nothing: grey squares."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(((x // 20 + y // 20) % 2) * 90 + 120 for x in range(size)) for y in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def kept(site: Any) -> Any:
    """A gate whose pictures are kept, with two of them; people for two gates, some of them not there yet."""
    site.sql(
        "INSERT INTO gate_picture_gates (device, actor, why) VALUES ('gate-01', 'quantri', 'Theo quyết định') ON CONFLICT DO NOTHING"
    )
    for number in range(2):
        sealed = site.keys.encrypt(png(), place_of("gate-01", 900 + number))
        site.sql(
            "INSERT INTO gate_pictures (device, school, message, kind, bytes, sealed, expires_at) "
            "SELECT id, school, $1, 'image/png', $2, $3, now() + interval '12 hours' FROM devices WHERE id = 'gate-01'",
            900 + number, len(png()), sealed,
        )  # fmt: skip
    site.sql(
        "INSERT INTO connectors (name, system, settings) SELECT 'face_gates', 'face_gates', '{}' "
        "WHERE NOT EXISTS (SELECT 1 FROM connectors WHERE name = 'face_gates')"
    )
    text = '{"vi": "Cổng gate-02: Không tìm thấy khuôn mặt trong ảnh; cần ảnh khác.", "en": "Gate gate-02: No face was found in the picture."}'
    (task,) = site.sql(
        "INSERT INTO tasks (connector, cause, subject, text) SELECT id, 'gate_refused_464', 'gate-02/HS3', $1::jsonb FROM connectors "
        "WHERE name = 'face_gates' RETURNING id", text,
    )  # fmt: skip
    for number, (gate, state, cause) in enumerate(
        [
            ("gate-01", 7, "receipt"),
            ("gate-01", 7, "receipt"),
            ("gate-01", 4, "try_later"),
            ("gate-02", 5, "needs_person"),
            ("gate-02", 2, "routed"),
        ]
    ):
        key, record = f"{gate}/HS31{number:06d}", 5_000_000 + number
        site.sql(
            "INSERT INTO streams (type, key, version, event, content, record, school) SELECT 'gate_person', $1, 1, $2, '', $3, school FROM devices "
            "WHERE id = $4", key, "CANCEL" if number == 2 else "UPDATE", record, gate,
        )  # fmt: skip
        if state == 7:
            site.sql(
                "INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause) "
                "SELECT $1::bigint, 2, $1::bigint, $1::bigint, c.id, 7, 1, now(), 'people-to-gates', $2, d.school, $3 FROM connectors c, devices d "
                "WHERE c.name = 'face_gates' AND d.id = $4", record, key, cause, gate,
            )  # fmt: skip
        else:
            site.sql(
                "INSERT INTO deliveries (id, record, connector, class, state, attempts, rank, task, flow, key, school, cause, due_at) "
                "SELECT $1::bigint, $1::bigint, c.id, 2, $2::smallint, 3, 1, $6::bigint, 'people-to-gates', $3, d.school, $4, "
                "CASE WHEN $2::smallint = 4 THEN now() + interval '5 min' END "
                "FROM connectors c, devices d WHERE c.name = 'face_gates' AND d.id = $5", record, state, key, cause, gate, task["id"] if state == 5 else None,
            )  # fmt: skip
    yield site
    for done in (
        "DELETE FROM deliveries WHERE flow = 'people-to-gates'",
        "DELETE FROM deliveries_closed WHERE flow = 'people-to-gates'",
        "DELETE FROM streams WHERE type = 'gate_person' AND record >= 5000000 AND record < 5000005",
        "DELETE FROM tasks WHERE cause = 'gate_refused_464'",
        "DELETE FROM connectors WHERE name = 'face_gates'",
    ):
        site.sql(done)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_lists_and_pictures_read_well(kept: Any, sign_in: Any, lang: str, width: int) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/gates/people")
    assert page.locator("table tbody tr").count() == 2
    looked_at(page, f"gates-people-{lang}-{width}")
    page.goto("/gates/gate-02/people?only=open")
    assert page.locator("table tbody tr").count() == 2 and page.locator(".chip.s-parked").count() == 1
    looked_at(page, f"gate-people-{lang}-{width}")
    page.goto("/gates/gate-01/people")
    assert page.locator("table tbody tr").count() == 3
    page.goto("/gates/gate-01/pictures")
    assert page.locator("table tbody tr").count() == 2 and page.locator("img.kept").count() == 0
    page.locator("td details summary").first.click()
    looked_at(page, f"gate-pictures-{lang}-{width}")


def test_the_next_page_names_nobody(kept: Any, sign_in: Any) -> None:
    prefix, first = "gate-03/HS31", 6_000_000
    kept.sql(
        "INSERT INTO streams (type, key, version, event, content, record, school) SELECT 'gate_person', $1 || to_char(n, 'FM000000'), 1, "
        "'UPDATE', '', $2::bigint + 200 - n, school FROM devices, generate_series(1, 120) n WHERE id = 'gate-03'", prefix, first,
    )  # fmt: skip
    try:
        page = sign_in(width=1280)
        page.goto("/gates/gate-03/people")
        assert page.locator("table tbody tr").count() == 100
        more = page.locator("a[rel=next]")
        assert "HS31" not in str(more.get_attribute("href")) and "HS31" not in page.content()
        seen = set(page.locator("table tbody a").evaluate_all("all => all.map(a => a.href)"))
        more.click()
        page.wait_for_url("**after=**")
        rest = page.locator("table tbody a").evaluate_all("all => all.map(a => a.href)")
        assert len(rest) == 20 and not seen & set(rest) and "HS31" not in page.url
        page.goto("/gates/gate-03/people?after=gate-03/HS31000100")
        assert page.locator("table tbody tr").count() == 100, "an address of before begins anew"
    finally:
        kept.sql("DELETE FROM streams WHERE type = 'gate_person' AND key LIKE $1 || '%'", prefix)


def test_a_picture_is_seen_for_a_purpose_and_the_view_is_noted(kept: Any, sign_in: Any) -> None:
    page = sign_in(width=1280)
    page.goto("/gates/gate-01")
    page.click("a[href$='/pictures']")
    page.locator("td details summary").first.click()
    page.locator("td form input[name=purpose]").first.fill("Phụ huynh hỏi lượt qua sáng nay")
    page.locator("td form button").first.click()
    page.wait_for_selector("img.kept")
    assert page.evaluate("document.querySelector('img.kept').naturalWidth") == 120, (
        "the page's own policy lets it be seen"
    )
    looked_at(page, "gate-picture-seen-vi-1280")
    (noted,) = kept.sql("SELECT actor, data FROM journal WHERE kind = 'gate_picture_seen'")
    assert noted["actor"] == "quantri" and "sáng nay" in noted["data"]
    page.goto("/audit?kind=gate_picture_seen")
    assert page.locator("table tbody tr").count() >= 1
    page.goto("/gates/gate-01/pictures")
    page.locator("form[action$='/keep'] input[name=why]").fill("Hết căn cứ pháp lý")
    page.click("form[action$='/keep'] button")
    page.wait_for_selector("form[action$='/keep'] button.main")
    assert kept.sql("SELECT count(*) AS n FROM gate_pictures")[0]["n"] == 0


def test_a_new_secret_is_shown_once(kept: Any, sign_in: Any) -> None:
    page = sign_in(width=390, lang="en")
    page.goto("/gates/gate-03")
    page.locator("details", has=page.locator("form[action$='/rotate']")).locator("summary").click()
    page.fill("form[action$='/rotate'] input[name=overlap]", "12")
    page.fill("form[action$='/rotate'] input[name=why]", "Người lắp đặt đã nghỉ việc")
    page.click("form[action$='/rotate'] button")
    page.wait_for_selector("code.secret")
    shown = page.locator("code.secret").all_inner_texts()
    assert re.fullmatch(r"[0-9a-f]{32}", shown[0]) and shown[1] == "gate-03@2"
    looked_at(page, "gate-rotated-en-390")
    page.goto("/gates/gate-03")
    assert page.locator("code.secret").count() == 0
    (row,) = kept.sql(
        "SELECT generation, old_until > now() + interval '11 hours' AS overlaps FROM devices WHERE id = 'gate-03'"
    )
    assert row["generation"] == 2 and row["overlaps"]


def test_a_connector_without_settings_breaks_no_page(kept: Any, sign_in: Any) -> None:
    page = sign_in(width=1280, lang="en")
    assert page.goto("/connectors").status == 200
    page.goto("/connectors/face_gates")
    page.locator("form[action$='/probe'] button").click()
    assert "settings cannot be used" in page.inner_text("main")
