"""The signed headers of the national population database's callers on the exchange.

One concern: `Timestamp`, `Authorization`, `X-Road-Client` and `ApiKey` of one request, made anew for every try. It must
never show the secret. Source: headers seen in production integrations; the timestamp's unit differs between them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Literal

from connectors.auth.base import Clock, Exchange, Stateless
from connectors.auth.fixed import with_headers
from connectors.declare import Declared, Secret, setting
from connectors.transports.base import Request
from hub.kernel.ports import Text


class PopulationSignedSettings(Declared):
    """`Authorization: Basic base64(user:sha256hex(url + user + timestamp + secret))` and its companions."""

    ABOUT = Text("Tiêu đề có ký của CSDL dân cư", "Signed headers of the population database")
    SECRETS = (
        Secret(name="secret", title=Text("Khóa ký", "Signing secret")),
        Secret(name="api_key", title=Text("ApiKey", "ApiKey")),
    )
    scheme: Literal["population_signed"] = "population_signed"
    user: str = setting("Tài khoản", "User", example="so-gddt", min_length=1, pattern=r"^[^:\x00-\x1f]+$")
    xroad_client: str = setting(
        "Mã máy khách X-Road",
        "X-Road client",
        example="VN/GOV/000.00.00.H24/so-gddt",
        min_length=1,
        pattern=r"^[\x20-\x7e]+$",
    )
    timestamp_unit: Literal["ms", "s"] = setting(
        "Đơn vị thời gian ký",
        "Unit of the timestamp",
        default="ms",
        help=Text("Các đơn vị gọi dùng khác nhau", "Callers differ"),
    )
    signed_url: str | None = setting(
        "Địa chỉ dùng khi ký",
        "Address that is signed",
        default=None,
        example="http://dancuquocgia.bca/dich-vu",
        help=Text("Trống: chính địa chỉ gọi", "Empty: the address called"),
    )

    def build(self, secrets: Mapping[str, str], clock: Clock) -> PopulationSigned:
        """The scheme, ready for use."""
        return PopulationSigned(self, secrets["secret"], secrets["api_key"], clock)


class PopulationSigned(Stateless):
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, settings: PopulationSignedSettings, secret: str, api_key: str, clock: Clock) -> None:
        self._settings = settings
        self._secret = secret
        self._api_key = api_key
        self._clock = clock

    def __repr__(self) -> str:
        return f"PopulationSigned(user={self._settings.user!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request signed for this very moment."""
        s = self._settings
        now = self._clock()
        timestamp = str(int(now * 1000) if s.timestamp_unit == "ms" else int(now))
        signed = f"{s.signed_url or request.url}{s.user}{timestamp}{self._secret}"
        digest = hashlib.sha256(signed.encode()).hexdigest()
        return with_headers(
            request,
            {
                "Timestamp": timestamp,
                "Authorization": "Basic " + base64.b64encode(f"{s.user}:{digest}".encode()).decode(),
                "X-Road-Client": s.xroad_client,
                "ApiKey": self._api_key,
            },
        )
