"""What stands open to any address is said where the gates are looked at, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_gates import looked_at

_SAID = {"vi": "webhook nhận lời gọi từ mọi địa chỉ", "en": "the webhook takes calls from any address"}


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("lang", ["vi", "en"])
def test_a_webhook_without_a_list_is_said(
    site: Any, sign_in: Any, request: pytest.FixtureRequest, lang: str, width: int
) -> None:
    page = sign_in(width=width, lang=lang)
    page.goto("/gates")
    assert _SAID[lang] not in page.content(), "there is no gate of HANET's"
    change = "UPDATE devices SET family = $2 WHERE id = $1"
    request.addfinalizer(lambda: site.sql(change, "gate-03", "face_mqtt"))
    site.sql(change, "gate-03", "hanet")
    page.goto("/gates")
    assert _SAID[lang] in page.inner_text("[role=status]")
    looked_at(page, f"gates-open-door-{lang}-{width}")
