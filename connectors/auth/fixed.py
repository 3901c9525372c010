"""Schemes whose credentials never change: none, API key, basic, bearer, the LGSP access header.

One concern: putting a fixed credential on a request. They must never look at replies.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Literal

import msgspec
import orjson

from connectors.auth.base import Clock, Exchange, Stateless
from connectors.declare import Declared, Secret, setting
from connectors.transports.base import Request
from hub.kernel.ports import Text

HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"


def with_headers(request: Request, headers: Mapping[str, str]) -> Request:
    """A copy of the request; these headers replace ones of the same name, whatever their case."""
    names = {n.lower() for n in headers}
    kept = {n: v for n, v in request.headers.items() if n.lower() not in names}
    return msgspec.structs.replace(request, headers={**kept, **headers})


class FixedHeaders(Stateless):
    """Adds the same headers every time."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    def __repr__(self) -> str:
        return f"FixedHeaders({', '.join(sorted(self._headers))})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request with the headers added."""
        return with_headers(request, self._headers) if self._headers else request


class NoneSettings(Declared):
    """No credentials."""

    ABOUT = Text("Không xác thực", "No authentication")
    scheme: Literal["none"] = "none"

    def build(self, secrets: Mapping[str, str], clock: Clock) -> FixedHeaders:
        """The scheme, ready for use."""
        return FixedHeaders({})


class ApiKeySettings(Declared):
    """A key in a header."""

    ABOUT = Text("Khóa API trong tiêu đề", "API key in a header")
    SECRETS = (Secret(name="api_key", title=Text("Khóa API", "API key")),)
    scheme: Literal["api_key"] = "api_key"
    header: str = setting("Tên tiêu đề", "Header name", default="X-API-Key", example="ApiKey", pattern=HEADER_NAME)

    def build(self, secrets: Mapping[str, str], clock: Clock) -> FixedHeaders:
        """The scheme, ready for use."""
        return FixedHeaders({self.header: secrets["api_key"]})


class BasicSettings(Declared):
    """User name and password in every request (RFC 7617, UTF-8)."""

    ABOUT = Text("Tên và mật khẩu (HTTP Basic)", "User name and password (HTTP Basic)")
    SECRETS = (Secret(name="password", title=Text("Mật khẩu", "Password")),)
    scheme: Literal["basic"] = "basic"
    username: str = setting("Tên đăng nhập", "User name", example="so-gddt", min_length=1, pattern=r"^[^:\x00-\x1f]+$")

    def build(self, secrets: Mapping[str, str], clock: Clock) -> FixedHeaders:
        """The scheme, ready for use."""
        pair = f"{self.username}:{secrets['password']}".encode()
        return FixedHeaders({"Authorization": "Basic " + base64.b64encode(pair).decode()})


class BearerSettings(Declared):
    """A long-lived token."""

    ABOUT = Text("Mã truy cập cố định (Bearer)", "Fixed bearer token")
    SECRETS = (Secret(name="token", title=Text("Mã truy cập", "Token")),)
    scheme: Literal["bearer"] = "bearer"

    def build(self, secrets: Mapping[str, str], clock: Clock) -> FixedHeaders:
        """The scheme, ready for use."""
        return FixedHeaders({"Authorization": f"Bearer {secrets['token']}"})


class LgspHeaderSettings(Declared):
    """The `lgspaccesstoken` header of local exchange platforms: base64 of a JSON object, as integrations send it."""

    ABOUT = Text("Tiêu đề lgspaccesstoken của trục LGSP", "The LGSP's lgspaccesstoken header")
    SECRETS = (Secret(name="secret_key", title=Text("SecretKey", "SecretKey")),)
    scheme: Literal["lgsp_header"] = "lgsp_header"
    access_key: str = setting("AccessKey", "AccessKey", example="so-gddt", min_length=1)
    app_name: str = setting("Tên ứng dụng (AppName)", "Application name (AppName)", example="lien-thong", min_length=1)
    partner_code: str = setting("Mã đối tác (PartnerCode)", "PartnerCode", example="000.00.00.G22", min_length=1)
    partner_code_cus: str = setting("PartnerCodeCus", "PartnerCodeCus", default="", example="000.00.00.H24")

    def build(self, secrets: Mapping[str, str], clock: Clock) -> FixedHeaders:
        """The scheme, ready for use."""
        token = orjson.dumps(
            {
                "AccessKey": self.access_key,
                "SecretKey": secrets["secret_key"],
                "AppName": self.app_name,
                "PartnerCode": self.partner_code,
                "PartnerCodeCus": self.partner_code_cus,
            }
        )
        return FixedHeaders({"lgspaccesstoken": base64.b64encode(token).decode()})
