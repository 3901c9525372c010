"""REST over HTTP: a call's path under a base address, its body as it is.

One concern: making HTTP requests from calls. It must never add credentials (schemes do) or change a body.
"""

from __future__ import annotations

import re
import ssl
from typing import ClassVar, Literal

from msgspec.structs import replace
from pydantic import field_validator
from yarl import URL

from connectors.address import AddressPolicy
from connectors.declare import Declared, Secret, require, setting, wrong
from connectors.errors import SettingError, SettingsInvalid
from connectors.transports.base import Request
from connectors.transports.http_wire import HttpWire
from connectors.transports.tls import KEY, TlsSettings, tls_context
from hub.kernel.ports import Call, NotSent, Reply, Text

CAPABILITIES = frozenset({"http", "headers", "status", "tls", "probe_path"})

_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "apikey", "x-api-key"})
_CONTROLLED = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_KEPT_URLS = 1024


class HttpSettings(Declared):
    """What every HTTP transport can be told."""

    SECRETS: ClassVar[tuple[Secret, ...]] = (KEY,)
    base_url: str = setting(
        "Địa chỉ gốc",
        "Base address",
        example="https://trao-doi.example.vn/dich-vu",
        help=Text(
            "http hoặc https, không kèm tài khoản, truy vấn hay phần #",
            "http or https, without credentials, query or fragment",
        ),
        max_length=2000,
    )
    headers: dict[str, str] = setting(
        "Tiêu đề cố định",
        "Fixed headers",
        default={},
        example={"dstcode": "VN:GOV:000.00.00.G04:portal"},
        help=Text("Không đặt bí mật ở đây", "No secrets here"),
    )
    query: dict[str, str] = setting(
        "Tham số cố định",
        "Fixed query parameters",
        default={},
        example={"dstcode": "VN:GOV:000.00.00.G04:portal", "providerurl": "https://dich-vu.example.vn"},
    )
    tls: TlsSettings = setting("TLS", "TLS", default=TlsSettings())
    max_reply_bytes: int = setting(
        "Cỡ trả lời tối đa (byte)", "Largest reply (bytes)", default=8 << 20, ge=1024, le=256 << 20
    )
    idle_s: float = setting(
        "Giữ kết nối rỗi (giây)",
        "Keep idle connections (seconds)",
        default=10.0,
        ge=0,
        le=300,
        help=Text("Ngắn hơn thời gian của đối tác", "Shorter than the counterparty's own"),
    )
    probe_path: str | None = setting(
        "Đường dẫn thử",
        "Path for the live test",
        default=None,
        example="health",
        help=Text("GET; để trống thì chỉ thử kết nối", "A GET; empty tests connecting only"),
    )

    def needed(self) -> tuple[Secret, ...]:
        """The private key where there is a certificate, and whatever else is declared."""
        return tuple(require(s) if s is KEY and self.tls.certificate_pem else s for s in self.SECRETS)

    @field_validator("base_url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            url = URL(value)
            ok = url.scheme in ("http", "https") and url.host and not (url.query_string or url.fragment)
            known = ok and url.port is not None and 0 < url.port < 65536
        except ValueError:
            known = False
        if not known or _UNSAFE.search(value):
            raise wrong("address", "phải là địa chỉ http(s) đầy đủ", "must be a whole http(s) address")
        if url.user is not None or url.password is not None:
            raise wrong("address_credentials", "không được kèm tài khoản", "must not hold credentials")
        return value.rstrip("/")

    @field_validator("headers")
    @classmethod
    def _fixed(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if name.lower() in _CREDENTIAL_HEADERS:
                raise wrong(
                    "secret_misplaced",
                    f"không được chứa {name}: dùng cách xác thực",
                    f"must not hold {name}: use an authentication scheme",
                )
            if name.lower() in _CONTROLLED or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise wrong("header", "có tên tiêu đề không dùng được", "hold a header name that cannot be used")
            if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
                raise wrong("header", "có ký tự điều khiển", "hold a control character")
        return value


class RestSettings(HttpSettings):
    """REST over HTTP or HTTPS."""

    ABOUT = Text("REST qua HTTP(S)", "REST over HTTP(S)")
    kind: Literal["rest"] = "rest"


class RestTransport:
    """See `connectors.transports.base.Transport`. Timeouts in seconds; `connections` caps the pool; `tls_key` goes with the
    settings' certificate."""

    def __init__(
        self,
        settings: HttpSettings,
        policy: AddressPolicy,
        *,
        connections: int,
        connect_s: float,
        read_s: float,
        pool_s: float | None = None,
        tls_s: float | None = None,
        write_s: float | None = None,
        tls_key: str | None = None,
    ) -> None:
        self._settings = settings
        self._base = URL(settings.base_url)
        self._urls: dict[str, str] = {}
        self._wire = HttpWire(
            policy=policy,
            connections=connections,
            connect_s=connect_s,
            read_s=read_s,
            pool_s=pool_s,
            tls_s=tls_s,
            write_s=write_s,
            max_reply=settings.max_reply_bytes,
            idle_s=settings.idle_s,
            tls=_tls(settings.tls, tls_key),
        )

    def request(self, call: Call) -> Request:
        """The call under the base address; its own headers stand above the fixed ones."""
        headers = {**self._settings.headers, **call.headers}
        if call.body and call.content_type:
            headers["Content-Type"] = call.content_type
        return Request(method=call.method.upper(), url=self.url(call.path), body=call.body, headers=headers)

    def url(self, path: str) -> str:
        """Whole address of a path. Raises `NotSent` for a path that could lead elsewhere."""
        known = self._urls.get(path)
        if known is not None:
            return known
        plain = path.split("?", 1)[0]
        if _UNSAFE.search(path) or "#" in path or "//" in plain or "://" in plain or _climbs(plain):
            raise NotSent("the call's path does not stay under the base address")
        try:
            url = URL(self._settings.base_url + ("/" + path.lstrip("/") if path and path[0] != "?" else path))
            if self._settings.query:
                url = url.extend_query(self._settings.query)
        except ValueError as error:
            raise NotSent("the call's path is not readable") from error
        if url.origin() != self._base.origin():
            raise NotSent("the call's path does not stay under the base address")
        if len(self._urls) >= _KEPT_URLS:
            self._urls.clear()
        return self._urls.setdefault(path, str(url))

    def placed(self, request: Request) -> Request:
        """A scheme's own request at a whole address: a path goes under the base address, with the fixed headers and parameters
        that everything sent there has. Raises `NotSent` for a path that could lead elsewhere."""
        if not request.url.startswith("/"):
            return request
        return replace(request, url=self.url(request.url), headers={**self._settings.headers, **request.headers})

    async def exchange(self, request: Request, deadline_s: float) -> Reply:
        """Send and give the reply, whatever its status."""
        return await self._wire.exchange(self.placed(request), deadline_s)

    async def reach(self, deadline_s: float) -> None:
        """Connect and shake hands only."""
        await self._wire.reach(self._settings.base_url, deadline_s)

    async def close(self) -> None:
        """Give back sockets."""
        await self._wire.close()


def _tls(settings: TlsSettings, key: str | None) -> ssl.SSLContext | None:
    """The connector's own context; None where the system's serves. Raises `SettingsInvalid` for a key that does not fit."""
    if settings.ca_pem is None and settings.certificate_pem is None:
        return None
    try:
        return tls_context(settings.ca_pem, settings.certificate_pem, key)
    except ValueError:
        message = Text(
            f"“{KEY.title.vi}” thiếu, hoặc không đi với chứng thư của trục",
            f"“{KEY.title.en}” is missing, or does not belong to the hub's certificate",
        )
        error = SettingError(
            pointer=f"/secrets/{KEY.name}", code="missing" if not key else "certificate", message=message
        )
        raise SettingsInvalid([error]) from None


def _climbs(path: str) -> bool:
    return any(part.lower().replace("%2e", ".") in ("..", ".") for part in path.split("/"))
