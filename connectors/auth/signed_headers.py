"""Headers signed with a shared key: an HMAC over chosen parts of the request, as gateways without OAuth ask for.

One concern: composing what is signed and putting the result into headers, anew for every try. It must never show the
key, and must never sign less than the settings say: a part that cannot be had is an error, not an empty line.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random_source
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import model_validator
from yarl import URL

from connectors.auth.base import Clock, Exchange, Stateless
from connectors.auth.fixed import HEADER_NAME, with_headers
from connectors.declare import Declared, Secret, setting, wrong
from connectors.transports.base import Request
from hub.kernel.ports import Text

Part = Literal["key_id", "method", "host", "path", "query", "content_type", "timestamp", "nonce", "body_sha256"]
_JOINTS = {"newline": "\n", "pipe": "|", "nothing": ""}


class SignedHeadersSettings(Declared):
    """HMAC over named parts of the request, joined by a separator."""

    ABOUT = Text("Tiêu đề có ký (HMAC)", "Signed headers (HMAC)")
    SECRETS = (Secret(name="signing_key", title=Text("Khóa ký", "Signing key")),)
    scheme: Literal["signed_headers"] = "signed_headers"
    key_id: str = setting("Mã khóa", "Key id", example="so-gddt", pattern=r"^[\x21-\x7e]+$")
    parts: list[Part] = setting(
        "Các phần được ký, theo thứ tự",
        "Parts that are signed, in order",
        default=["method", "path", "query", "timestamp", "nonce", "body_sha256"],
        min_length=1,
        max_length=9,
    )
    joined_by: Literal["newline", "pipe", "nothing"] = setting(
        "Các phần nối bằng", "Parts joined by", default="newline"
    )
    algorithm: Literal["sha256", "sha512"] = setting("Hàm băm", "Hash", default="sha256")
    encoding: Literal["hex", "base64"] = setting("Cách viết chữ ký", "How the signature is written", default="hex")
    timestamp: Literal["s", "ms", "iso"] = setting("Dạng thời gian", "Form of the timestamp", default="s")
    signature_header: str = setting(
        "Tiêu đề chữ ký", "Signature header", default="X-Signature", example="Authorization", pattern=HEADER_NAME
    )
    signature_word: str = setting(
        "Từ đứng trước chữ ký",
        "Word before the signature",
        default="",
        example="HMAC-SHA256",
        pattern=r"^[\x21-\x7e]*$",
        help=Text("Cách chữ ký một khoảng trắng", "A space goes between"),
    )
    key_id_header: str = setting("Tiêu đề mã khóa", "Key id header", default="X-Key-Id", pattern=HEADER_NAME)
    timestamp_header: str = setting("Tiêu đề thời gian", "Timestamp header", default="X-Timestamp", pattern=HEADER_NAME)
    nonce_header: str = setting("Tiêu đề số dùng một lần", "Nonce header", default="X-Nonce", pattern=HEADER_NAME)

    @model_validator(mode="after")
    def _sound(self) -> SignedHeadersSettings:
        names = [self.signature_header, self.key_id_header, self.timestamp_header, self.nonce_header]
        if len({n.lower() for n in names}) < len(names):
            raise wrong("headers_same", "các tiêu đề phải khác tên nhau", "the headers must have different names")
        if "body_sha256" not in self.parts:
            raise wrong("body_unsigned", "phải ký cả thân (body_sha256)", "the body must be signed too (body_sha256)")
        return self

    def build(self, secrets: Mapping[str, str], clock: Clock) -> SignedHeaders:
        """The scheme, ready for use."""
        return SignedHeaders(self, secrets["signing_key"], clock)


class SignedHeaders(Stateless):
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, settings: SignedHeadersSettings, key: str, clock: Clock) -> None:
        self._settings = settings
        self._key = key.encode()
        self._clock = clock

    def __repr__(self) -> str:
        return f"SignedHeaders(key_id={self._settings.key_id!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request signed for this very moment."""
        s = self._settings
        url = URL(request.url)
        now = self._clock()
        values: dict[str, str] = {
            "key_id": s.key_id,
            "method": request.method,
            "host": url.host_port_subcomponent or "",
            "path": url.raw_path,
            "query": url.raw_query_string,
            "content_type": next((v for n, v in request.headers.items() if n.lower() == "content-type"), ""),
            "timestamp": _written(now, s.timestamp),
            "nonce": random_source.token_hex(16),
            "body_sha256": hashlib.sha256(request.body).hexdigest(),
        }
        signed = _JOINTS[s.joined_by].join(values[part] for part in s.parts)
        digest = hmac.new(self._key, signed.encode(), s.algorithm).digest()
        signature = digest.hex() if s.encoding == "hex" else base64.b64encode(digest).decode()
        headers = {s.key_id_header: s.key_id, s.signature_header: f"{s.signature_word} {signature}".strip()}
        if "timestamp" in s.parts:
            headers[s.timestamp_header] = values["timestamp"]
        if "nonce" in s.parts:
            headers[s.nonce_header] = values["nonce"]
        return with_headers(request, headers)


def _written(now: float, form: str) -> str:
    if form == "iso":
        return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(int(now * 1000) if form == "ms" else int(now))
