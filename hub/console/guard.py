"""The door: who is visiting, what their role lets them do, and whether a form really came from our own page.

Every page asks `Visitor` (or one of the narrower dependencies), every form goes through `taken`. It must never be
possible to change anything with a GET, without the session's CSRF token, or outside one's scope.
"""

from __future__ import annotations

import hmac
import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from msgspec import Struct
from starlette.datastructures import FormData

from hub.api.context import Hub
from hub.console.kept import Sent
from hub.kernel.firewall import clean
from hub.kernel.firewall_names import stated
from hub.kernel.ledger import people
from hub.kernel.ledger.core import Core
from hub.kernel.ledger.people import Person, Session

COOKIE = "lt_session"
IDLE_S = 3600.0
"""A session nobody uses for this long ends."""
LANG = "lang"
"""Field of the button that has a refused form shown in the other language; what it asks for is in the request's state."""
LIVE_HEADER = "x-live"
"""Set by pages that refresh themselves: such a request keeps no session alive."""
_LARGEST_FORM = 262_144
_CLEANED_FROM = 96
"""Characters below which a field's text can hold no picture."""
_UNSEEN = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""What nobody types and pasting brings along: it shows nowhere, and no text of the database takes NUL."""
_RANK = {"auditor": 0, "operator": 1, "admin": 2}


class SignInNeeded(Exception):
    """Cần đăng nhập. / Sign in first."""


class PasswordChangeNeeded(Exception):
    """Cần đổi mật khẩu dùng một lần. / The one-time password must be changed first."""


class Refused(Exception):
    """Trang này từ chối yêu cầu. / The page refuses the request; `status` and `reason` (a key of the words) say how."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


class Guest(Struct, frozen=True, kw_only=True):
    """A signed-in visitor of one request."""

    session: Session
    schools: list[str] | None
    """The schools they may see; None means all, whatever they are. Goes into every query."""

    @property
    def person(self) -> Person:
        """Who it is."""
        return self.session.person

    @property
    def csrf(self) -> str:
        """The token every form of this session carries."""
        return self.session.csrf

    @property
    def whole(self) -> bool:
        """True for the department: what concerns all schools is theirs alone."""
        return self.person.scope.whole

    def may(self, role: str) -> bool:
        """Whether their role is at least this one."""
        return _RANK[self.person.role] >= _RANK[role]

    def may_run(self, role: str = "operator") -> bool:
        """Whether they may do what concerns every school: role and scope together."""
        return self.whole and self.may(role)


def hub_of(request: Request) -> Hub:
    """The gateway's parts."""
    hub: Hub = request.app.state.hub
    return hub


def core_of(request: Request) -> Core:
    """The ledger's common ground."""
    return hub_of(request).core


async def _guest(request: Request) -> Guest:
    token = request.cookies.get(COOKIE)
    core = core_of(request)
    session = (
        await people.find_session(core, token, IDLE_S, touch=LIVE_HEADER not in request.headers) if token else None
    )
    if session is None:
        raise SignInNeeded
    if session.person.must_change and request.url.path not in ("/password", "/logout"):
        raise PasswordChangeNeeded
    return Guest(session=session, schools=core.directory.schools_of(session.person.scope))


Visitor = Annotated[Guest, Depends(_guest)]
"""Anybody signed in."""


def needs(guest: Guest, role: str, *, whole: bool = False) -> None:
    """Refuse (403) whoever lacks the role, or, with `whole`, the department's scope."""
    if not guest.may(role):
        raise Refused(403, "error.role")
    if whole and not guest.whole:
        raise Refused(403, "error.scope")


def same_origin(request: Request) -> bool:
    """Whether a browser sent this from a page of ours: by its own word where it gives one."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def read_form(request: Request) -> FormData:
    """A form's fields. Refuses (403) what another site sent, (413) what is too large."""
    if not same_origin(request):
        raise Refused(403, "error.csrf")
    if int(request.headers.get("content-length") or _LARGEST_FORM + 1) > _LARGEST_FORM:
        raise Refused(413, "error.large")
    form = await request.form(max_files=0, max_fields=2000)
    if (wanted := text(form, LANG)) in ("vi", "en"):
        setattr(request.state, LANG, wanted)
    return form


async def taken(request: Request, guest: Guest, role: str = "operator", *, whole: bool = False) -> FormData:
    """The fields of a form that may change something: CSRF token, role and scope have been checked."""
    form = await read_form(request)
    if not hmac.compare_digest(text(form, "csrf").encode(), guest.csrf.encode()):
        raise Refused(403, "error.csrf")
    needs(guest, role, whole=whole)
    return form


def again(request: Request) -> bool:
    """Whether a form is sent only to be shown as it is typed, in the other language: then nothing is to be done."""
    return hasattr(request.state, LANG)


def text(form: FormData, name: str, longest: int = 2000) -> str:
    """One text field, trimmed, without biometrics or what is not to be seen: what people paste is kept in journals. Empty when
    it is missing."""
    value = _typed(form, name)
    if len(value) >= _CLEANED_FROM:
        cleaned = clean(value.encode("utf-8", "replace"), lambda _: "")
        value = cleaned.body.decode("utf-8", "replace") if cleaned.removed else value
    return value[:longest]


def purpose(form: FormData, name: str = "purpose") -> str | None:
    """What somebody stated as their purpose; None when it is no sentence: then nothing is to be shown or done."""
    return stated(_typed(form, name))


def reason(request: Request, form: FormData, name: str = "why") -> str | None:
    """Why somebody orders what a form asks, as it is journaled: the one rule of everything that changes something for others. None
    when it is no sentence, or the form is sent for the other language alone: nothing is to be done then, and the page, given again,
    has the form as it was typed, the error at its field."""
    said = purpose(form, name)
    keep(request, form, wrong=said is None)
    return None if again(request) else said


def keep(request: Request, form: FormData, *, wrong: bool = False) -> None:
    """Have the page that says what is wrong with a form give it back as it was typed."""
    values = {k: text(form, k) for k in form if k not in ("csrf", LANG)}
    request.state.sent = Sent(path=request.scope["path"], values=values, wrong=wrong, again=again(request))


def _typed(form: FormData, name: str) -> str:
    value = form.get(name)
    return _UNSEEN.sub("", value).strip() if isinstance(value, str) else ""


def number(value: str | None) -> int | None:
    """An id out of an address or a form; None when it is none (also when it is beyond 63 bits)."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 18:
        return None
    return int(value)


def known_id(value: str) -> int:
    """An id out of an address, or 404."""
    found = number(value)
    if found is None:
        raise Refused(404, "error.missing")
    return found
