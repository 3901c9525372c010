"""The session log-in of the national public-service portal.

One concern: obtaining a session and putting it into each call's JSON body. It must never show the password or a
session, and must never call a session ended unless the reply itself says so: that reply is why the call may be sent
again at once. What the codes mean is assumed and stands in `portal_session.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import orjson
import yaml

from connectors.auth.base import Clock, Exchange, Scheme, Ticket, turned_down
from connectors.auth.fixed import with_headers
from connectors.auth.gateway import SECRET, GatewaySettings
from connectors.declare import Declared, Secret, require, setting
from connectors.errors import CredentialsRefused
from connectors.transports.base import Request
from hub.kernel.ports import NotSent, Reply, Text


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Meaning of the portal's codes; `assumed` says that no source was found, `why` what that rests on."""

    version: int
    assumed: bool
    why: str
    expired_codes: list[str]
    refused_codes: list[str]
    success_codes: list[str]


@cache
def profile() -> Profile:
    """The profile shipped with the scheme."""
    return msgspec.convert(
        yaml.safe_load(Path(__file__).with_name("portal_session.yaml").read_text("utf-8")), type=Profile
    )


class PortalSessionSettings(Declared):
    """POST `{username, password}` gives `{session, error_code}`; every call then carries `"session"` in its body."""

    ABOUT = Text("Phiên làm việc của Cổng DVCQG", "Session of the public-service portal")
    SECRETS = (Secret(name="password", title=Text("Mật khẩu", "Password")), SECRET)
    scheme: Literal["portal_session"] = "portal_session"
    login_url: str = setting(
        "Địa chỉ đăng nhập",
        "Log-in address",
        example="/mapi/login",
        help=Text(
            "Bắt đầu bằng / thì nằm dưới địa chỉ gốc và đi cùng đường với lời gọi (máy chủ bảo mật, bộ chuyển tiếp); hoặc địa chỉ đầy đủ",
            "Beginning with / it lies under the base address and goes the calls' own way (security server, forwarder); or a whole address",
        ),
        pattern=r"^(https?://[^/\s@]+(/\S*)?|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)$",
    )
    username: str = setting("Tên đăng nhập", "User name", example="so-gddt", min_length=1)
    dstcode: str = setting(
        "Mã đích (dstcode)",
        "Destination code (dstcode)",
        default="",
        example="VN:GOV:000.00.00.G22:vpcp",
        pattern=r"^[\x21-\x7e]*$",
    )
    session_s: float = setting(
        "Phiên sống tối đa (giây)",
        "Longest use of a session (seconds)",
        default=1500.0,
        gt=0,
        help=Text("Sau đó đăng nhập lại", "Logs in anew after that"),
    )
    expired_codes: list[str] | None = setting(
        "Mã lỗi phiên hết hạn",
        "Error codes of an ended session",
        default=None,
        example=["-1"],
        help=Text("Trống: theo hồ sơ giả định", "Empty: as the assumed profile says"),
    )
    refused_codes: list[str] | None = setting(
        "Mã lỗi sai tài khoản",
        "Error codes of refused credentials",
        default=None,
        example=["1"],
        help=Text("Trống: theo hồ sơ giả định", "Empty: as the assumed profile says"),
    )

    gateway: GatewaySettings = setting("Trục LGSP đứng trước", "LGSP gateway in front", default=GatewaySettings())

    def needed(self) -> tuple[Secret, ...]:
        """The gateway's secret where there is one in front."""
        return tuple(require(s) if s is SECRET and self.gateway.token_url else s for s in self.SECRETS)

    def build(self, secrets: Mapping[str, str], clock: Clock) -> Scheme:
        """The scheme, ready for use."""
        return self.gateway.before(PortalSession(self, secrets["password"], clock), secrets, clock)


class PortalSession:
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, settings: PortalSessionSettings, password: str, clock: Clock) -> None:
        known = profile()
        self._settings = settings
        self._password = password
        self._clock = clock
        self._expired = frozenset(known.expired_codes if settings.expired_codes is None else settings.expired_codes)
        self._refused = frozenset(known.refused_codes if settings.refused_codes is None else settings.refused_codes)
        self._success = frozenset(known.success_codes)
        self._ticket = Ticket(self._login, clock)

    def __repr__(self) -> str:
        return f"PortalSession(username={self._settings.username!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request with `"session"` as the body's first member, everything after it byte for byte as rendered."""
        body = request.body.lstrip()
        if body[:1] != b"{":
            raise NotSent("a portal call's body must be a JSON object")
        session = await self._ticket.get(exchange, deadline_s)
        rest = body[1:].lstrip()
        comma = b"" if rest[:1] == b"}" else b","
        spliced = b'{"session":' + orjson.dumps(session) + comma + rest
        signed = msgspec.structs.replace(request, body=spliced)
        return with_headers(signed, {"dstcode": self._settings.dstcode}) if self._settings.dstcode else signed

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """True for 401, or an `error_code` that means the session has ended: the portal did nothing then."""
        if reply.status != 401 and (len(reply.body) > 65536 or _code(reply.body) not in self._expired):
            return False
        return self._ticket.forget(_session(signed.body))

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """Log in anew."""
        self._ticket = Ticket(self._login, self._clock)
        await self._ticket.get(exchange, deadline_s)
        return True

    async def _login(self, exchange: Exchange, deadline_s: float) -> tuple[str, float]:
        s = self._settings
        headers = {"Content-Type": "application/json", **({"dstcode": s.dstcode} if s.dstcode else {})}
        body = orjson.dumps({"username": s.username, "password": self._password})
        asked = self._clock()
        reply = await exchange(Request(method="POST", url=s.login_url, body=body, headers=headers), deadline_s)
        code = _code(reply.body)
        if reply.status in (401, 403) or code in self._refused:
            raise CredentialsRefused(f"the portal refused user {s.username} (status {reply.status}, code {code})")
        if refusal := turned_down(reply, "the portal"):
            raise refusal
        session = _session(reply.body)
        if reply.status != 200 or code not in self._success or not session:
            raise NotSent(f"the portal opened no session (status {reply.status}, code {code})")
        return session, asked + s.session_s


class _Coded(msgspec.Struct):
    """The one member of a reply looked at on the way; the rest is skipped, not built."""

    error_code: str | int | None = None


class _Opened(msgspec.Struct):
    session: str = ""


_coded = msgspec.json.Decoder(_Coded)
_opened = msgspec.json.Decoder(_Opened)


def _code(body: bytes) -> str | None:
    try:
        code = _coded.decode(body).error_code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if code is None else str(code)[:40]


def _session(body: bytes) -> str:
    try:
        return _opened.decode(body).session
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
