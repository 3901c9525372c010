"""Signing in and out, and changing one's password. It must never say whether a name exists."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import deque

from fastapi import APIRouter, Request
from fastapi.responses import Response

from hub.console.guard import COOKIE, Visitor, again, core_of, hub_of, read_form, taken, text
from hub.console.render import redirect, respond, secure
from hub.kernel.ledger import people

router = APIRouter()

_FORM_COOKIE = "lt_form"
_FORM_S = 3600
_PER_ADDRESS = 30
_ADDRESS_WINDOW_S = 300.0


class _Crowd:
    """Failed sign-ins by network address, in this process: slows down whoever tries many names."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = {}

    def too_many(self, address: str) -> float:
        """Seconds this address has to wait; 0 when it may go on."""
        now = time.monotonic()
        tries = self._failed.get(address)
        while tries and tries[0] < now - _ADDRESS_WINDOW_S:
            tries.popleft()
        if tries is None or len(tries) < _PER_ADDRESS:
            return 0.0
        return tries[0] + _ADDRESS_WINDOW_S - now

    def failed(self, address: str) -> None:
        """Count one."""
        if len(self._failed) > 10_000:
            self._failed.clear()
        self._failed.setdefault(address, deque(maxlen=_PER_ADDRESS)).append(time.monotonic())


_crowd = _Crowd()


def _proof(request: Request, nonce: str) -> str:
    """What the sign-in form must carry: only we can make it, only this browser knows the nonce."""
    key = hub_of(request).keys.hmac("console-sign-in")
    return hmac.new(key, nonce.encode(), "sha256").hexdigest()


def _inside(address: str) -> str:
    """An address of ours to go to after signing in; the overview for anything else."""
    ours = (
        address.startswith("/") and not address.startswith(("//", "/\\", "/login", "/logout")) and "\\" not in address
    )
    return address if ours and address.isprintable() else "/"


def _form(
    request: Request, after: str, *, status: int = 200, name: str = "", error: str | None = None, wait_s: float = 0
) -> Response:
    nonce = request.cookies.get(_FORM_COOKIE) or secrets.token_urlsafe(24)
    response = respond(
        request,
        "login.html",
        status=status,
        proof=_proof(request, nonce),
        name=name,
        error=error,
        wait_s=wait_s,
        after=_inside(after),
        typed=request.method == "POST",
    )
    response.set_cookie(
        _FORM_COOKIE, nonce, max_age=_FORM_S, httponly=True, samesite="strict", secure=secure(request), path="/login"
    )
    return response


@router.get("/login")
async def show(request: Request) -> Response:
    """The sign-in form."""
    return _form(request, request.query_params.get("next", "/"))


@router.post("/login")
async def sign_in(request: Request) -> Response:
    """Check name and password and start a session."""
    form = await read_form(request)
    nonce = request.cookies.get(_FORM_COOKIE, "")
    name, after = text(form, "name", 64).lower(), text(form, "next")
    if again(request):
        return _form(request, after, name=name)
    if not nonce or not hmac.compare_digest(text(form, "proof"), _proof(request, nonce)):
        return _form(request, after, status=403, name=name, error="login.stale")
    address = request.client.host if request.client else "-"
    if wait := _crowd.too_many(address):
        return _form(request, after, status=429, name=name, error="login.blocked", wait_s=wait)
    session_s = float(hub_of(request).settings.http.session_hours) * 3600
    password = form.get("password")
    try:
        token, person = await people.sign_in(
            core_of(request), name, password if isinstance(password, str) else "", session_s
        )
    except people.SignInBlocked as blocked:
        _crowd.failed(address)
        return _form(request, after, status=429, name=name, error="login.blocked", wait_s=blocked.after_s)
    except people.SignInRefused:
        _crowd.failed(address)
        return _form(request, after, status=401, name=name, error="login.wrong")
    response = redirect("/password" if person.must_change else _inside(after))
    # A new token at every sign-in: one planted in the browser before is worth nothing.
    response.set_cookie(COOKIE, token, max_age=int(session_s), httponly=True, samesite="lax", secure=secure(request))
    response.delete_cookie(_FORM_COOKIE, path="/login")
    return response


@router.post("/logout")
async def sign_out(request: Request, visitor: Visitor) -> Response:
    """End the session."""
    await taken(request, visitor, "auditor")
    await people.sign_out(core_of(request), visitor.session)
    response = redirect("/login")
    response.delete_cookie(COOKIE)
    return response


@router.get("/password")
async def password_form(request: Request, visitor: Visitor) -> Response:
    """The form to change one's password."""
    return respond(request, "password.html", visitor=visitor, error=None, shortest=people.SHORTEST_PASSWORD)


@router.post("/password")
async def change_password(request: Request, visitor: Visitor) -> Response:
    """Change one's password."""
    form = await taken(request, visitor, "auditor")
    old, new, again = (str(form.get(k) or "") for k in ("old", "new", "again"))
    error: str
    if new != again:
        error = "password.differ"
    else:
        try:
            await people.change_password(core_of(request), visitor.session, old, new)
            return redirect("/", done="done.password")
        except people.SignInRefused:
            error = "password.wrong"
        except people.PasswordUnfit as unfit:
            error = f"password.{unfit.reason}"
    return respond(
        request, "password.html", status=422, visitor=visitor, error=error, shortest=people.SHORTEST_PASSWORD
    )
