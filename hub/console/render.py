"""Rendering: templates, languages and the headers every page carries.

One concern: from data to a finished HTML response. It must never read the database or decide who may see what.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from markupsafe import Markup

from hub.console import times
from hub.console.kept import Kept, Sent, kept
from hub.console.times import Lang
from hub.console.words import WORDS
from hub.kernel.firewall_names import PURPOSE_LEAST, PURPOSE_MOST
from hub.kernel.lifecycle import State
from hub.kernel.ports import Text

FOLDER = Path(__file__).parent
LANG_COOKIE = "lt_lang"
_LANG_S = 365 * 86_400
_TONGUES: dict[Lang, str] = {"vi": "Tiếng Việt", "en": "English"}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


def lang_of(request: Request) -> Lang:
    """The language asked for now, else the one chosen before, else Vietnamese."""
    asked = _asked(request) or request.cookies.get(LANG_COOKIE)
    return "en" if asked == "en" else "vi"


def _asked(request: Request) -> str | None:
    """The language asked for now: by the button of a refused form (see `guard.again`), or by `?lang=`."""
    return getattr(request.state, "lang", None) or request.query_params.get("lang")


def secure(request: Request) -> bool:
    """Whether the browser speaks HTTPS with us: by the configured public address, else by the connection."""
    public = getattr(getattr(request.app.state.hub.settings, "http", None), "public_url", None)
    return str(public).startswith("https:") if public else request.url.scheme == "https"


@cache
def _static_version(name: str) -> str:
    return hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file; it changes with the content, so browsers may keep it for good."""
    return f"/static/{name}?v={_static_version(name)}"


def say(key: str, lang: Lang, **values: Any) -> str:
    """A string of the table. `values` fill its braces; counts get the language's separators."""
    vi, en = WORDS[key]
    text = vi if lang == "vi" else en
    if not values:
        return text
    return text.format_map({k: times.number(v, lang) if isinstance(v, int | float) else v for k, v in values.items()})


def pick(text: Any, lang: Lang) -> str:
    """The sentence of a `Text`, or of its stored form `{vi, en}`."""
    if isinstance(text, Text):
        return text.vi if lang == "vi" else text.en
    if isinstance(text, Mapping):
        return str(text.get(lang) or text.get("vi") or text.get("en") or "")
    return "" if text is None else str(text)


class _Helpers:
    """What templates call, bound to one request's language and to the form it refuses, if any."""

    def __init__(self, lang: Lang, sent: Sent | None) -> None:
        self.lang = lang
        self.now = times.now()
        self._sent = sent
        self._forms = 0
        self._told = False
        self._refused: str | None = None

    def kept(self, action: str, **hidden: object) -> Kept:
        """A form of the page, by its address and what it hides: as it was typed when it is the one that was refused."""
        self._forms += 1
        form = kept(self._sent, self._forms, action, hidden)
        self._told = self._told or form.typed
        if form.typed and self._refused is None:
            self._refused = form.form
        return form

    def refused(self) -> str | None:
        """The id of the page's form that is given back as it was typed, if any: what the other language must not lose."""
        return self._refused

    def untold(self) -> bool:
        """Whether a reason was none and the page, as things stand by now, has no field any more to say so at."""
        return self._sent is not None and self._sent.wrong and not self._told

    def t(self, key: str, **values: Any) -> str:
        """A string of the table."""
        return say(key, self.lang, **values)

    def word(self, group: str, key: str | None) -> str:
        """A word of an open-ended group (causes, kinds): the key itself where the table has none."""
        return say(f"{group}.{key}", self.lang) if f"{group}.{key}" in WORDS else str(key or "–")

    def tx(self, text: Any) -> str:
        """A stored sentence in the page's language."""
        return pick(text, self.lang)

    def n(self, value: float | int | None) -> str:
        """A number; a dash for none."""
        return "–" if value is None else times.number(value, self.lang)

    def clock(self, moment: datetime) -> str:
        """A moment in local time."""
        return times.clock(moment)

    def told(self, moment: str) -> Markup:
        """A moment as a document tells it (ISO 8601): in local time, or as it stands there if no clock shows it."""
        try:
            shown = times.clock(datetime.fromisoformat(moment))
        except (ValueError, OverflowError):
            shown = moment
        return Markup('<time datetime="{}">{}</time>').format(moment, shown)

    def soon(self, moment: datetime) -> str:
        """A moment ahead: the hour, with the day unless it is today's."""
        return times.soon(moment, self.now)

    def size(self, value: int | None) -> str:
        """A number of bytes."""
        return "–" if value is None else times.size(value, self.lang)

    def span(self, seconds: float | None) -> str:
        """A length of time."""
        return "–" if seconds is None else times.span(seconds, self.lang)

    def at(self, moment: datetime | None) -> Markup:
        """A moment with its age: `<time>` holding the local time and, beneath, how long ago."""
        if moment is None:
            return Markup("–")
        return Markup('<time datetime="{}"><span>{}</span> <small>{}</small></time>').format(
            moment.isoformat(), times.clock(moment), times.age(moment, self.now, self.lang)
        )

    def ago(self, moment: datetime | None) -> Markup:
        """The age alone; the local time shows on hovering."""
        if moment is None:
            return Markup("–")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            moment.isoformat(), times.clock(moment), times.age(moment, self.now, self.lang)
        )

    def state(self, number: int | str, count: int | None = None) -> Markup:
        """A delivery state as a chip: sign, word and, if given, a count."""
        state = State[number.upper()] if isinstance(number, str) else State(number)
        return Markup('<span class="chip s-{}">{}{}</span>').format(
            state.word,
            self.t(f"state.{state.word}"),
            "" if count is None else Markup(" <b>{}</b>").format(self.n(count)),
        )

    def pretty(self, value: Any) -> str:
        """Data as indented JSON."""
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _query(request: Request) -> Any:
    def link(**changes: Any) -> str:
        """The present page's address with some query parameters changed; None takes one away."""
        args = {k: v for k, v in request.query_params.items() if k not in ("done", "n", "lang")}
        args |= {k: str(v) for k, v in changes.items() if v is not None}
        for name in [k for k, v in changes.items() if v is None]:
            args.pop(name, None)
        return request.url.path + ("?" + urlencode(args) if args else "")

    return link


@cache
def _environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals["static"] = static
    env.globals["why_least"], env.globals["why_most"] = PURPOSE_LEAST, PURPOSE_MOST
    env.globals["known_done"] = frozenset(key for key in WORDS if key.startswith("done."))
    env.filters["urlpart"] = lambda text: quote(str(text), safe="")
    return env


def render(request: Request, template: str, lang: Lang, sent: Sent | None, **context: Any) -> str:
    """A template's text. `sent`: the form that is refused, if any."""
    helpers = _Helpers(lang, sent)
    names = {name: getattr(helpers, name) for name in dir(helpers) if not name.startswith("_")}
    base = {"request": request, "path": request.url.path, "link": _query(request), "visitor": None, "title": ""}
    base |= {"tongues": _TONGUES, "tongue": "en" if lang == "vi" else "vi"}
    return _environment().get_template(template).render(base | names | context)


def respond(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page with the console's headers; a language asked for is remembered. As the answer to an order without a
    reason (see `guard.reason`) it is 422, and any page that refuses a form gives it back as it was typed."""
    lang = lang_of(request)
    sent: Sent | None = getattr(request.state, "sent", None)
    if sent is not None and (sent.wrong or sent.again) and status == 200:
        status = 422
    content = render(request, template, lang, sent if status >= 400 else None, **context)
    response = HTMLResponse(content, status_code=status, headers=HEADERS)
    if _asked(request) in ("vi", "en"):
        response.set_cookie(LANG_COOKIE, lang, max_age=_LANG_S, httponly=True, samesite="lax", secure=secure(request))
    return response


def redirect(address: str, /, **query: Any) -> Response:
    """See other: what to look at after a form was taken. `query` is added to the address."""
    if query:
        address += ("&" if "?" in address else "?") + urlencode({k: str(v) for k, v in query.items()})
    return cast(Response, RedirectResponse(address, status_code=303, headers=HEADERS))
