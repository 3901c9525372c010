"""Machine clients: OAuth2 client credentials, API keys, rights, scopes, rate limits.

Secrets and keys are random, so they are kept as keyed hashes and compared in constant time. It must never let a client
through on a cached answer older than a few seconds, nor say which of id and secret was wrong.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, Form, Request
from msgspec import Struct

from hub.api.context import Hub
from hub.api.problems import Problem
from hub.api.rates import Rates
from hub.kernel.access import Scope
from hub.kernel.intake import Source
from hub.kernel.keyed import keyed
from hub.kernel.ledger import parties
from hub.kernel.ports import Text
from hub.keys import Keys

router = APIRouter()

TOKEN_S = 900
_CACHE_S = 3.0
_AHEAD_S = 1.5
_TOKENS_KEPT = 4096
_ISSUER = "lien-thong"

_WHO = Text("Thiếu hoặc sai thông tin xác thực.", "Credentials are missing or wrong.")


class Client(Struct, frozen=True, kw_only=True):
    """A machine client that has shown who it is."""

    id: str
    scope: Scope
    rights: frozenset[str]
    source: Source


def secret_digest(keys: Keys, secret: str) -> bytes:
    """What is stored of a client's secret or key."""
    return hmac.new(keys.hmac("client-secret"), secret.encode(), hashlib.sha256).digest()


class Clients:
    """The clients table in memory, never trusted for longer than `_CACHE_S` seconds.

    It is read ahead of that while requests come, so that none of them waits; of those that must wait, one reads.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._secret = keyed(hub.keys.hmac("client-secret"))
        self._tokens = hub.keys.hmac("oauth-token")
        self._read_at = -_CACHE_S
        self._reading: asyncio.Task[None] | None = None
        self.rates = Rates(hub.redis)
        self._rows: dict[str, Any] = {}
        self._by_id: dict[str, Client] = {}
        self._by_key: dict[bytes, Client] = {}
        self._verified: dict[str, tuple[str, float]] = {}

    async def _read(self) -> None:
        began = time.monotonic()
        rows = await parties.clients(self._hub.core)
        self._rows = {r["id"]: r for r in rows}
        self._by_id = {r["id"]: _client(r) for r in rows}
        self._by_key = {bytes(r["key_hash"]): self._by_id[r["id"]] for r in rows if r["key_hash"]}
        self._read_at = began

    async def _fresh(self) -> None:
        age = time.monotonic() - self._read_at
        if age < _AHEAD_S:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
            # Whoever waits hears of a failure; read ahead, the next request asks again.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        if age >= _CACHE_S:
            await asyncio.shield(self._reading)

    async def by_id(self, name: str) -> Client | None:
        """The active client of that id."""
        await self._fresh()
        return self._by_id.get(name)

    async def by_key(self, key: str) -> Client | None:
        """The active client with that API key."""
        await self._fresh()
        return self._by_key.get(self._secret(key.encode()))

    async def by_token(self, token: str) -> Client | None:
        """The active client a bearer token was given to. Raises `jwt.InvalidTokenError`."""
        found = self._verified.get(token)
        if found is None or found[1] <= time.time():
            # Signature and issuer of a token are looked at once; its end and its client's state at every request.
            claims = jwt.decode(token, self._tokens, algorithms=["HS256"], issuer=_ISSUER, audience="api")
            found = str(claims["sub"]), float(claims.get("exp", 0))
            if len(self._verified) >= _TOKENS_KEPT:
                self._verified.clear()
            self._verified[token] = found
        return await self.by_id(found[0])

    async def secret_of(self, name: str) -> bytes | None:
        """What is stored of an active client's secret."""
        await self._fresh()
        row = self._rows.get(name)
        return bytes(row["secret_hash"]) if row else None

    def forget(self) -> None:
        """Read the table at the next look."""
        self._read_at = -_CACHE_S


def _client(row: Any) -> Client:
    return Client(
        id=row["id"],
        scope=Scope(row["scope_kind"], row["scope_code"]),
        rights=frozenset(row["rights"]),
        source=Source("client", row["id"]),
    )


def _refuse() -> Problem:
    return Problem(401, "unauthenticated", _WHO, headers={"WWW-Authenticate": 'Bearer realm="lien-thong"'})


def header(request: Request, name: bytes) -> str | None:
    """A request's header by its name in lower case; None when there is none. The framework's mapping costs five times that."""
    for key, value in request.scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


async def current_client(request: Request) -> Client:
    """The client of a request, by bearer token or API key. Raises a 401 problem; a 429 one when it goes too fast."""
    hub: Hub = request.app.state.hub
    clients: Clients = request.app.state.clients
    key = header(request, b"x-api-key")
    client = None
    if key:
        client = await clients.by_key(key)
    else:
        scheme, _, token = (header(request, b"authorization") or "").partition(" ")
        if scheme.lower() == "bearer" and token:
            try:
                client = await clients.by_token(token)
            except jwt.InvalidTokenError:
                raise _refuse() from None
    if client is None:
        raise _refuse()
    _limit(hub, request, client)
    return client


def _limit(hub: Hub, request: Request, client: Client) -> None:
    """Requests per second, counted in Redis over all gateways. Without Redis there is no limit: availability first."""
    most = hub.settings.http.client_requests_per_s
    used = request.app.state.clients.rates.count(client.id) if most else None
    if used is None:
        return
    request.state.rate = {
        "RateLimit-Limit": str(most),
        "RateLimit-Remaining": str(max(0, most - used)),
        "RateLimit-Reset": "1",
    }
    if used > most:
        text = Text(
            f"Quá {most} yêu cầu mỗi giây; hãy gửi chậm lại.", f"More than {most} requests a second; slow down."
        )
        raise Problem(429, "too_many_requests", text, headers={"Retry-After": "1", **request.state.rate})


CurrentClient = Annotated[Client, Depends(current_client)]


def require(client: Client, right: str) -> None:
    """Refuse a client without a right."""
    if right not in client.rights:
        text = Text(f"Tài khoản không có quyền “{right}”.", f"The client lacks the right “{right}”.")
        raise Problem(403, "missing_right", text)


@router.post("/oauth/token", tags=["auth"])
async def token(
    request: Request,
    grant_type: Annotated[str, Form()],
    client_id: Annotated[str | None, Form()] = None,
    client_secret: Annotated[str | None, Form()] = None,
) -> dict[str, Any]:
    """OAuth2 client credentials: id and secret in the form or as HTTP Basic; gives a bearer token for 15 minutes."""
    hub: Hub = request.app.state.hub
    if grant_type != "client_credentials":
        text = Text("Chỉ hỗ trợ grant_type=client_credentials.", "Only grant_type=client_credentials is supported.")
        raise Problem(400, "unsupported_grant_type", text)
    scheme, _, basic = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client_id, _, client_secret = base64.b64decode(basic, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise _refuse() from None
    name = client_id or ""
    stored = await request.app.state.clients.secret_of(name)
    given = secret_digest(hub.keys, client_secret or "")
    if not hmac.compare_digest(given, stored or given[::-1]) or stored is None:
        raise _refuse()
    now = int(time.time())
    claims = {"iss": _ISSUER, "aud": "api", "sub": name, "iat": now, "exp": now + TOKEN_S}
    return {
        "access_token": jwt.encode(claims, hub.keys.hmac("oauth-token"), algorithm="HS256"),
        "token_type": "Bearer",
        "expires_in": TOKEN_S,
    }
