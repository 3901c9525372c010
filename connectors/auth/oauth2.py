"""OAuth 2.0 client credentials (RFC 6749 §4.4), as LGSP gateways of the WSO2 kind give tokens.

One concern: fetching, keeping and renewing a token. It must never log in twice for calls that wait at the same time,
and must never show the client secret or a token.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote, urlencode

import orjson
from pydantic import field_validator
from yarl import URL

from connectors.auth.base import Clock, Exchange, Ticket, turned_down
from connectors.auth.fixed import HEADER_NAME, with_headers
from connectors.declare import Declared, Secret, setting, wrong
from connectors.errors import CredentialsRefused
from connectors.transports.base import Request
from hub.kernel.ports import NotSent, Reply, Text


def whole_address(value: str) -> str:
    """A setting that is a whole address without credentials. Raises a setting's error."""
    try:
        url = URL(value)
        good = url.scheme in ("http", "https") and bool(url.host) and url.user is None and url.password is None
    except ValueError:
        good = False
    if not good:
        raise wrong("address", "phải là địa chỉ http(s) đầy đủ", "must be a whole http(s) address")
    return value


class TokenSettings(Declared):
    """What every scheme is told that fetches a token with client credentials."""

    SECRETS = (Secret(name="client_secret", title=Text("Bí mật của ứng dụng", "Client secret")),)
    token_url: str = setting(
        "Địa chỉ lấy mã truy cập", "Token address", example="https://lgsp.example.vn:8280/token", max_length=2000
    )
    client_id: str = setting("Mã ứng dụng", "Client id", example="so-gddt-hai-phong", min_length=1)
    scope: str = setting("Phạm vi", "Scope", default="", example="ho-so")
    client_authentication: Literal["basic", "post"] = setting(
        "Cách gửi bí mật",
        "How the secret is sent",
        default="basic",
        help=Text("basic: tiêu đề; post: trong thân", "basic: header; post: in the body"),
    )
    early_s: float = setting("Đổi mã sớm (giây)", "Renew before the end (seconds)", default=30.0, ge=0, le=3600)

    @field_validator("token_url")
    @classmethod
    def _address(cls, value: str) -> str:
        return whole_address(value)


class OAuth2Settings(TokenSettings):
    """A token fetched with client credentials, kept until it ends, renewed once when a call is answered 401."""

    ABOUT = Text("OAuth2, thông tin của ứng dụng", "OAuth2 client credentials")
    scheme: Literal["oauth2_client_credentials"] = "oauth2_client_credentials"

    def build(self, secrets: Mapping[str, str], clock: Clock) -> ClientCredentials:
        """The scheme, ready for use."""
        return ClientCredentials(self, secrets["client_secret"], clock, "Authorization", "Bearer ", {})


class TokenHeader(Declared):
    """Where a gateway wants its token, and what beside it."""

    header: str = setting(
        "Tiêu đề mang mã", "Header for the token", default="Authorization", example="X-LGSP-Token", pattern=HEADER_NAME
    )
    written: Literal["Bearer", "Token", "bare"] = setting(
        "Cách viết mã",
        "How the token is written",
        default="Bearer",
        help=Text("Từ này đứng trước mã; bare: chỉ có mã", "The word before the token; bare: the token alone"),
    )
    extra_headers: dict[str, str] = setting(
        "Tiêu đề kèm theo",
        "Headers that go with it",
        default={},
        example={"X-Partner-Code": "000.00.00.H24"},
        help=Text("Không đặt bí mật ở đây", "No secrets here"),
    )

    @field_validator("extra_headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not re.fullmatch(HEADER_NAME, name) or not text.isprintable():
                raise wrong("header", "có tiêu đề không dùng được", "hold a header that cannot be used")
        return value


class LgspTokenSettings(TokenHeader, TokenSettings):
    """A WSO2-style gateway's token: the same grant, but the token may go in a header of the gateway's own beside the
    headers it wants from every caller."""

    ABOUT = Text("Mã truy cập của trục LGSP (kiểu WSO2)", "Token of an LGSP gateway (WSO2 style)")
    scheme: Literal["lgsp_token"] = "lgsp_token"

    def build(self, secrets: Mapping[str, str], clock: Clock) -> ClientCredentials:
        """The scheme, ready for use."""
        prefix = "" if self.written == "bare" else f"{self.written} "
        return ClientCredentials(self, secrets["client_secret"], clock, self.header, prefix, self.extra_headers)


class ClientCredentials:
    """See `connectors.auth.base.Scheme`. The token goes into `header` after `prefix`, with `extra` beside it."""

    def __init__(
        self,
        settings: TokenSettings,
        client_secret: str,
        clock: Clock,
        header: str,
        prefix: str,
        extra: Mapping[str, str],
    ) -> None:
        self._settings = settings
        self._secret = client_secret
        self._clock = clock
        self._header = header
        self._prefix = prefix
        self._extra = dict(extra)
        self._ticket = Ticket(self._fetch, clock)

    def __repr__(self) -> str:
        return f"ClientCredentials(client_id={self._settings.client_id!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request with the token."""
        token = await self._ticket.get(exchange, deadline_s)
        return with_headers(request, {**self._extra, self._header: self._prefix + token})

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """A 401 means the token was not accepted, so nothing was done."""
        if reply.status != 401:
            return False
        return self._ticket.forget(signed.headers[self._header].removeprefix(self._prefix))

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """Fetch a token."""
        self._ticket = Ticket(self._fetch, self._clock)
        await self._ticket.get(exchange, deadline_s)
        return True

    async def _fetch(self, exchange: Exchange, deadline_s: float) -> tuple[str, float]:
        s = self._settings
        form = {"grant_type": "client_credentials", **({"scope": s.scope} if s.scope else {})}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if s.client_authentication == "basic":
            pair = f"{quote(s.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": s.client_id, "client_secret": self._secret}
        asked = self._clock()
        reply = await exchange(
            Request(method="POST", url=s.token_url, body=urlencode(form).encode(), headers=headers), deadline_s
        )
        if reply.status in (400, 401, 403):
            raise CredentialsRefused(f"the token address answered {reply.status} to client {s.client_id}")
        if refusal := turned_down(reply, "the token address"):
            raise refusal
        if reply.status != 200:
            raise NotSent(f"the token address answered {reply.status}")
        try:
            answer = orjson.loads(reply.body)
            token, lives = answer["access_token"], float(answer.get("expires_in", 300))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise NotSent("the token address gave no readable token") from None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise NotSent("the token address gave no readable token")
        # A token living shorter than the margin is still good for the call that fetched it.
        return token, asked + max(lives - s.early_s, 1.0)
