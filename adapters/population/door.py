"""Who may ask the simulated database: signed headers, an LGSP access token, or the exchange's own header alone.

One concern: letting a request in or saying why not. It reads no clock: the time is given. It must never be used by the
adapter.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from hashlib import sha256
from typing import Literal

import orjson
from msgspec import Struct

USER, CLIENT = "so-gddt", "VN/GOV/000.00.00.H24/so-gddt"
SECRET, API_KEY = "population-simulator", "population-key"  # opens nothing but this simulator
LGSP = {"AccessKey": "sim", "SecretKey": "population-simulator", "AppName": "lien-thong", "PartnerCode": "H24", "PartnerCodeCus": ""}  # fmt: skip
"""What the `lgsp` way in expects inside `lgspaccesstoken`."""
_FRESH_S = 300
Refusal = tuple[str, str, str]
"""(fault code, text, reason for the books)"""


def signature(url: str, user: str, timestamp: str, secret: str) -> str:
    """The Authorization header's value for one request."""
    digest = sha256((url + user + timestamp + secret).encode()).hexdigest()
    return "Basic " + b64encode(f"{user}:{digest}".encode()).decode()


def lgsp_token(parts: dict[str, str] | None = None) -> str:
    """The value of `lgspaccesstoken`."""
    return b64encode(orjson.dumps(LGSP | (parts or {}))).decode()


class Door(Struct, frozen=True, kw_only=True):
    """One way in. `unit`: what a second counts in Timestamp, 1000 or 1."""

    user: str
    secret: str
    api_key: str
    client: str
    unit: int
    way_in: Literal["signed", "lgsp", "xroad"]

    def refuses(self, headers: Mapping[str, str], url: str, now: float) -> Refusal | None:
        """Why a request is not let in; None when it is."""
        if self.way_in == "lgsp":
            try:
                told = orjson.loads(b64decode(headers.get("lgspaccesstoken", ""), validate=True))
            except (Base64Error, ValueError):
                return _unknown("lgspaccesstoken không hợp lệ", "lgsp token")
            return None if told == LGSP else _unknown("lgspaccesstoken không đúng", "lgsp token")
        refused = self._signature(headers, url, now) if self.way_in == "signed" else None
        if refused is None and headers.get("X-Road-Client") != self.client:
            return "Client.Authorization", "Đơn vị chưa được cấp quyền", "client"
        return refused

    def _signature(self, headers: Mapping[str, str], url: str, now: float) -> Refusal | None:
        timestamp = headers.get("Timestamp", "")
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 16:
            return _unknown("Timestamp không hợp lệ", "timestamp")
        if abs(int(timestamp) / self.unit - now) > _FRESH_S:
            return _unknown("Timestamp quá hạn", "timestamp")
        # A base address may be signed with or without its closing slash.
        expected = [signature(given, self.user, timestamp, self.secret) for given in {url, url.rstrip("/")}]
        if headers.get("Authorization") not in expected:
            return _unknown("Chữ ký không đúng", "signature")
        if headers.get("ApiKey") != self.api_key:
            return _unknown("ApiKey không đúng", "api key")
        return None

    def headers(self, url: str, now: float) -> dict[str, str]:
        """What a well-behaved caller puts on a request."""
        if self.way_in == "lgsp":
            return {"lgspaccesstoken": lgsp_token()}
        if self.way_in == "xroad":
            return {"X-Road-Client": self.client}
        timestamp = str(int(now * self.unit))
        return {
            "Timestamp": timestamp,
            "Authorization": signature(url, self.user, timestamp, self.secret),
            "X-Road-Client": self.client,
            "ApiKey": self.api_key,
        }


def _unknown(text: str, reason: str) -> Refusal:
    return "Client.Authentication", text, reason
