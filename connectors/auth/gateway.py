"""A gateway's token outside, a system's own session inside.

One concern: two schemes on one request, the gateway's and the system's. The system's log-in goes through the gateway as well,
with its token. It must never take one's refusal for the other's: where a reply does not say whose it is, both are renewed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Literal

from pydantic import field_validator, model_validator

from connectors.auth.base import Clock, Exchange, Scheme
from connectors.auth.oauth2 import LgspTokenSettings, TokenHeader, whole_address
from connectors.declare import Declared, Secret, setting, wrong
from connectors.transports.base import Request
from hub.kernel.ports import Reply, Text

SECRET = Secret(
    name="gateway_secret",
    title=Text("Bí mật của ứng dụng trên trục LGSP", "Client secret at the LGSP gateway"),
    required=False,
)
"""The secret beside `GatewaySettings`; asked for only where a token address is set."""


class GatewayClient(Declared):
    """Who the hub is at a gateway, where there is one."""

    token_url: str | None = setting(
        "Địa chỉ lấy mã truy cập",
        "Token address",
        default=None,
        example="https://lgsp.example.vn:8280/token",
        max_length=2000,
        help=Text(
            "Đặt thì mọi yêu cầu, cả đăng nhập, mang mã của trục",
            "When set, every request bears its token, log-ins too",
        ),
    )
    client_id: str = setting("Mã ứng dụng", "Client id", default="", example="so-gddt-hai-phong")
    scope: str = setting("Phạm vi", "Scope", default="", example="ho-so")
    client_authentication: Literal["basic", "post"] = setting(
        "Cách gửi bí mật",
        "How the secret is sent",
        default="basic",
        help=Text("basic: tiêu đề; post: trong thân", "basic: header; post: in the body"),
    )

    @field_validator("token_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return whole_address(value) if value else None


class GatewaySettings(TokenHeader, GatewayClient):
    """An LGSP gateway in front of a system that has a log-in of its own. Empty: none."""

    ABOUT = Text("Trục LGSP đứng trước (kiểu WSO2)", "LGSP gateway in front (WSO2 style)")

    @model_validator(mode="after")
    def _whole(self) -> GatewaySettings:
        if self.token_url and not self.client_id:
            raise wrong("missing", "cần mã ứng dụng cùng địa chỉ lấy mã", "needs a client id beside its token address")
        return self

    def before(self, own: Scheme, secrets: Mapping[str, str], clock: Clock) -> Scheme:
        """`own` behind the gateway; `own` itself where there is none."""
        if self.token_url is None:
            return own
        token = LgspTokenSettings.model_validate({**self.model_dump(), "token_url": self.token_url})
        return Behind(token.build({"client_secret": secrets[SECRET.name]}, clock), own)


class Behind:
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, gateway: Scheme, own: Scheme) -> None:
        self._gateway = gateway
        self._own = own

    def __repr__(self) -> str:
        return f"Behind({self._gateway!r}, {self._own!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request with the system's credentials, then with the gateway's."""
        ends = time.monotonic() + deadline_s
        signed = await self._own.sign(request, self._through(exchange), deadline_s)
        return await self._gateway.sign(signed, exchange, ends - time.monotonic())

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """Whether either has: a 401 says of neither that it is still good."""
        outside = self._gateway.lapsed(signed, reply)
        return self._own.lapsed(signed, reply) or outside

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """Both log in anew."""
        ends = time.monotonic() + deadline_s
        await self._gateway.check(exchange, deadline_s)
        return await self._own.check(self._through(exchange), ends - time.monotonic())

    def _through(self, exchange: Exchange) -> Exchange:
        """The wire as the system's own log-in sees it: with the gateway's token, renewed once."""

        async def through(request: Request, deadline_s: float) -> Reply:
            ends = time.monotonic() + deadline_s
            signed = await self._gateway.sign(request, exchange, deadline_s)
            reply = await exchange(signed, ends - time.monotonic())
            if self._gateway.lapsed(signed, reply):
                signed = await self._gateway.sign(request, exchange, ends - time.monotonic())
                reply = await exchange(signed, ends - time.monotonic())
                self._gateway.lapsed(signed, reply)
            return reply

        return through
