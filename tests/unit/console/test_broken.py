"""What breaks inside: a problem for programs, a page for people, the reason for the log alone."""

from __future__ import annotations

import asyncio
import logging

import httpx
import pytest
from fastapi import FastAPI

import connectors.settings as connector_settings
from hub.api import problems
from hub.console import mount
from hub.console.render import redirect
from hub.kernel.store.db import UNWRITABLE
from hub.settings import Settings


class _Hub:
    settings = Settings()


def _get(path: str, **headers: str) -> httpx.Response:
    app = FastAPI()
    problems.install(app)
    app.state.hub = _Hub()

    for place in ("/v1/odd", "/odd"):

        @app.get(place)
        async def odd() -> None:
            raise RuntimeError("relation secret_table of 031085001234")

    for place in ("/v1/nul", "/nul"):

        @app.get(place)
        async def nul() -> None:
            raise UNWRITABLE[0]("invalid byte sequence: Nguyễn Văn A")

    mount(app, connector_settings)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/v1/odd", "/odd"])
def test_a_program_gets_a_problem_without_the_reason(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "hub.api"):
        answer = _get(path, accept="application/json")
    assert answer.status_code == 500 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal" and answer.json()["texts"].keys() == {"vi", "en"}
    assert "secret_table" not in answer.text
    (said,) = caplog.records
    assert said.exc_info is not None and path in said.getMessage()


def test_a_person_gets_a_page_and_the_api_stays_the_api() -> None:
    page = _get("/odd", accept="text/html")
    assert (
        page.status_code == 500 and "text/html" in page.headers["content-type"] and "Có lỗi phía máy chủ" in page.text
    )
    assert "secret_table" not in page.text
    assert _get("/v1/odd", accept="text/html").headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "accept"), [("/v1/nul", "application/json"), ("/nul", "text/html")])
def test_what_the_database_takes_for_no_text_is_refused_and_the_log_told(
    path: str, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "hub.api"):
        answer = _get(path, accept=accept)
    assert answer.status_code == 422 and "stored" not in answer.text and "lưu" not in answer.text
    (said,) = [r.getMessage() for r in caplog.records]
    assert path in said and "CharacterNotInRepertoireError" in said and "Nguyễn" not in said + answer.text


def test_a_redirect_takes_whatever_words_an_address_had() -> None:
    asked = {"address": "x", "lang": "en"}
    assert redirect("/records/5", **asked).headers["location"] == "/records/5?address=x&lang=en"


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("/records/5/unmask", "/records/5"),
        ("/connectors/bo/shares/resume", "/connectors/bo"),
        ("/calendar/days/3/remove", "/calendar"),
        ("/people/links/3/undo", "/people"),
        ("/logout", "/"),
    ],
)
def test_the_other_language_of_a_page_that_answered_a_form_is_where_the_form_stands(path: str, above: str) -> None:
    answer = _get(f"{path}?lang=en", accept="text/html")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{above}?lang=en")
    assert _get(path, accept="text/html").status_code == 405, "nobody asked for another language"
