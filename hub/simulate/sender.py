"""A sender as a school's software would be: pushes over HTTP with a key or a token, and reads its receipts.

One concern: the sender's side of the interface. It must never use anything but the public interface, nor repeat a push
without its Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any, Literal

import aiohttp
import orjson
from msgspec import Struct

_AGAIN_S = 20.0
_PAGE = 1000


class Credentials(Struct, frozen=True, kw_only=True):
    """How a client shows who it is. `secret`: the OAuth2 client secret, or the API key."""

    kind: Literal["oauth2", "key"]
    id: str
    secret: str


class Answer(Struct, frozen=True, kw_only=True):
    """What the gateway answered to a push."""

    status: int
    body: dict[str, Any]
    replayed: bool

    @property
    def receipt(self) -> str:
        """The receipt's code; empty when there is none."""
        return str(self.body.get("receipt", ""))


class Refused(Exception):
    """Trục từ chối người gửi giả lập, không diễn tiếp được. / The hub refused a simulated sender; the play ends."""


class Sender:
    """One client of the gateway at `url`."""

    def __init__(self, http: aiohttp.ClientSession, url: str, credentials: Credentials) -> None:
        self._http = http
        self._url = url
        self._who = credentials
        self._token = ""
        self._token_ends = 0.0

    async def push(
        self,
        record_type: str,
        body: bytes,
        *,
        content_type: str = "application/json",
        key: str | None = None,
        bulk: bool = False,
    ) -> Answer:
        """Push once it is taken or refused for good: 429 and 503 are tried again for `_AGAIN_S` seconds.

        A key is required for that: without one a repeat might store twice.
        """
        headers = {"Content-Type": content_type} | ({"Idempotency-Key": key} if key else {})
        url = f"{self._url}/v1/messages/{record_type}" + ("?bulk=true" if bulk else "")
        until = time.monotonic() + _AGAIN_S
        while True:
            async with self._http.post(url, data=body, headers=headers | await self._credentials()) as reply:
                said = await reply.read()
                if reply.status in (401, 429, 503) and key is not None and time.monotonic() < until:
                    # 401 too: a client registered a moment ago is known to the gateway within seconds.
                    await asyncio.sleep(_wish(reply))
                    continue
                return Answer(
                    status=reply.status, body=_object(said), replayed=reply.headers.get("Idempotent-Replayed") == "true"
                )

    async def receipt(self, code: str) -> dict[str, Any]:
        """A receipt with all its pages put together. Raises `Refused` when it cannot be read."""
        path: str | None = f"/v1/receipts/{code}?limit={_PAGE}"
        whole: dict[str, Any] | None = None
        while path is not None:
            async with self._http.get(self._url + path, headers=await self._credentials()) as reply:
                said = await reply.read()
                if reply.status in (429, 503):
                    await asyncio.sleep(_wish(reply))
                    continue
                if reply.status != 200:
                    raise Refused(f"{path}: HTTP {reply.status} {said[:300]!r}")
            page = _object(said)
            if whole is None:
                whole = page
            else:
                whole["records"] += page["records"]
            path = page["next"]
        assert whole is not None
        return whole

    async def _credentials(self) -> dict[str, str]:
        if self._who.kind == "key":
            return {"X-API-Key": self._who.secret}
        if time.monotonic() >= self._token_ends:
            await self._ask_token()
        return {"Authorization": f"Bearer {self._token}"}

    async def _ask_token(self) -> None:
        pair = base64.b64encode(f"{self._who.id}:{self._who.secret}".encode()).decode()
        until = time.monotonic() + _AGAIN_S
        while True:
            form = {"grant_type": "client_credentials"}
            async with self._http.post(
                f"{self._url}/oauth/token", data=form, headers={"Authorization": f"Basic {pair}"}
            ) as reply:
                said = await reply.read()
                if reply.status == 200:
                    token = _object(said)
                    self._token = str(token["access_token"])
                    self._token_ends = time.monotonic() + float(token["expires_in"]) * 0.8
                    return
                if time.monotonic() >= until:
                    raise Refused(f"/oauth/token: HTTP {reply.status} {said[:300]!r}")
            await asyncio.sleep(0.5)


def _wish(reply: aiohttp.ClientResponse) -> float:
    wish = reply.headers.get("Retry-After", "")
    return min(float(wish), 5.0) if wish.isdigit() else 0.5


def _object(said: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(said)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
