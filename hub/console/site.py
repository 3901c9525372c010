"""The console as one router, and how the gateway takes it in.

One concern: putting pages, static files and error pages together. It must never leave an address of the API answered
with a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match

from hub.api.problems import unwritable
from hub.console.forms import ConnectorForms
from hub.console.guard import LIVE_HEADER, PasswordChangeNeeded, Refused, SignInNeeded
from hub.console.pages import (
    airflow,
    audit,
    calendar,
    codes,
    connector_new,
    connectors,
    corrections,
    deliveries,
    door,
    evidence,
    filings,
    gate_orders,
    gate_people,
    gate_pictures,
    gates,
    messages,
    overview,
    parked,
    people_inbox,
    receipts,
    reconcile,
    replay,
    twins,
    uploads,
    users,
    verify,
)
from hub.console.pulse import Pulses
from hub.console.render import FOLDER, HEADERS, redirect, respond
from hub.kernel.store.db import UNWRITABLE

router = APIRouter(include_in_schema=False)
for _page in (
    door, overview, connector_new, connectors, messages, corrections, uploads, receipts, deliveries, evidence, replay, reconcile, parked,
    codes, filings, gate_people, gates, gate_orders, gate_pictures, calendar, airflow, audit, twins, users,
    verify, people_inbox,
):  # fmt: skip
    router.include_router(_page.router)

_API = ("/v1/", "/iclock", "/control/", "/oauth", "/soap", "/device", "/metrics", "/health", "/openapi")
_KNOWN = {403: "error.forbidden", 404: "error.missing", 405: "error.method", 413: "error.large"}


class _Static(StaticFiles):
    """Static files whose address changes with their content: kept by browsers for good."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def mount(app: FastAPI, forms: ConnectorForms) -> None:
    """Take the console into the gateway's app. Call it last: other parts' error handlers stay behind the console's.

    `forms` is the connectors' settings module (or anything that gives its functions). The app's `state.hub` must be set
    before the first request.
    """
    app.state.console_forms = forms
    app.state.console_pulses = Pulses()
    app.mount("/static", _Static(directory=FOLDER / "static"), name="static")
    app.include_router(router)
    app.add_exception_handler(SignInNeeded, _sign_in)
    app.add_exception_handler(PasswordChangeNeeded, _change_password)
    app.add_exception_handler(Refused, _refused)
    for kind in UNWRITABLE:
        app.add_exception_handler(kind, _page_or(app.exception_handlers.get(kind), _unwritable))
    app.add_exception_handler(HTTPException, _page_or(app.exception_handlers.get(HTTPException), _http))
    app.add_exception_handler(Exception, _page_or(app.exception_handlers.get(Exception), _broken))


def heard(app: FastAPI, word: str) -> None:
    """A connector was changed, paused or let go, by whomever: who looks next sees it as it is now."""
    if word in ("connectors", "lost"):
        app.state.console_pulses.shared.forget()


def _is_page(request: Request) -> bool:
    return not request.url.path.startswith(_API) and "text/html" in request.headers.get("accept", "")


def _page_or(other: Any, page: Callable[[Request, Exception], Awaitable[Response]]) -> Any:
    """A page for people, the handler there was before for everybody else."""

    async def handle(request: Request, error: Exception) -> Response:
        if _is_page(request):
            return await page(request, error)
        if other is None:
            return PlainTextResponse("internal error\n", 500)
        answer = other(request, error)
        return await answer if isinstance(answer, Awaitable) else answer  # type: ignore[no-any-return]

    return handle


async def _sign_in(request: Request, error: Exception) -> Response:
    if LIVE_HEADER in request.headers:
        return Response(status_code=401, headers=HEADERS)
    where = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.method != "GET" or where == "/":
        return redirect("/login")
    return redirect(f"/login?next={quote(where, safe='')}")


async def _change_password(request: Request, error: Exception) -> Response:
    return redirect("/password")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return respond(request, "error.html", status=error.status, code=error.status, reason=error.reason)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and request.method == "GET" and (lang := request.query_params.get("lang")):
        # The other language of a page that answered a form: there is none without the form, which stands somewhere above.
        return redirect(_above(request), lang=lang)
    return respond(
        request,
        "error.html",
        status=error.status_code,
        code=error.status_code,
        reason=_KNOWN.get(error.status_code, "error.other"),
    )


def _above(request: Request) -> str:
    """The nearest address above a request's that is a page."""
    path = request.url.path
    while path := path.rpartition("/")[0]:
        scope = {"type": "http", "path": path, "method": "GET", "root_path": "", "headers": []}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            return path
    return "/"


async def _unwritable(request: Request, error: Exception) -> Response:
    unwritable(request, error)
    return respond(request, "error.html", status=422, code=422, reason="error.text")


async def _broken(request: Request, error: Exception) -> Response:
    return respond(request, "error.html", status=500, code=500, reason="error.broken")
