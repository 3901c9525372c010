"""What a schedule that names nobody asks with: the hub's settings, and nothing where they are empty."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hub.api import problems, verify
from hub.api.control import control_token
from hub.keys import Keys
from hub.settings import Settings
from hub.verification_settings import Verification

SET = Verification(purpose="Rà soát  hồ sơ cuối năm", officer="cb.gddt.07")


@pytest.fixture
def post(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`post(settings, **order)`: the answer's status, its body, and what was to be opened."""

    def ask(standing: Verification, **order: Any) -> tuple[int, Any, list[Any]]:
        asked: list[Any] = []

        async def open_due(*given: Any) -> list[int]:
            asked.append(given[3:5])
            return [7]

        monkeypatch.setattr(verify.verifications, "open_due", open_due)
        app = FastAPI()
        problems.install(app)
        app.include_router(verify.control)
        core = SimpleNamespace(moment=lambda: datetime(2026, 3, 1, tzinfo=UTC))
        app.state.hub = SimpleNamespace(core=core, keys=keys, settings=Settings(verification=standing))
        with TestClient(app, headers={"Authorization": f"Bearer {control_token(keys)}"}) as client:
            reply = client.post("/control/v1/verifications/due", json=order)
        return reply.status_code, reply.json(), asked

    return ask


def test_an_order_that_names_nobody_takes_what_is_set(post: Any) -> None:
    status, body, asked = post(SET, purpose="", officer="", kind="look_up", older_than_days=180, most=20)
    assert (status, body) == (200, {"opened": [7]})
    assert asked == [("Rà soát hồ sơ cuối năm", "cb.gddt.07")]


def test_what_an_order_names_comes_first(post: Any) -> None:
    assert post(SET, purpose="Kiểm tra đột xuất", officer="cb.01")[2] == [("Kiểm tra đột xuất", "cb.01")]
    assert post(SET, purpose="Kiểm tra đột xuất")[2] == [("Kiểm tra đột xuất", "cb.gddt.07")]


def test_nothing_set_opens_nothing_and_says_which_settings(post: Any) -> None:
    status, body, asked = post(Verification())
    assert (status, body["code"], asked) == (409, "not_set", [])
    assert all("verification.officer" in body["texts"][lang] for lang in ("vi", "en"))


@pytest.mark.parametrize("purpose", ["ngắn", "\x00" * 9, "data:image/jpeg;base64," + "A" * 200])
def test_a_purpose_that_is_no_sentence_opens_nothing(post: Any, purpose: str) -> None:
    status, body, asked = post(SET, purpose=purpose)
    assert (status, body["code"], asked) == (422, "no_purpose", [])
