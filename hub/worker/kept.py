"""Answers that may serve again: sealed copies in Redis, for as long as a call allows.

One concern: keeping and finding them. One lies under a keyed hash of its question and its purpose, its content sealed with the
hub's key; losing it loses nothing. It must never give out an answer after its time, or to another purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import Call, Reading, Receipt, Reply
from hub.keys import CannotDecrypt, Keys

log = logging.getLogger("hub.dispatch")

_AWAY = (RedisError, OSError, TimeoutError)


class _Kept(Struct, frozen=True, kw_only=True):
    """An answer as it lies in Redis, sealed."""

    at: float
    """When it was given, seconds since the epoch."""
    until: float
    call: int
    status: int
    headers: dict[str, str]
    body: bytes


class Kept:
    """The kept answers of one connector. Without Redis, or where a call allows no keeping, it keeps nothing."""

    def __init__(self, redis: Redis | None, keys: Keys, connector: str) -> None:
        self._redis = redis
        self._keys = keys
        self._connector = connector
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(_Kept).decode

    def _name(self, call: Call) -> str:
        """Where the answer to this question for this purpose lies; tells nothing about either."""
        digest = hmac.new(self._keys.hmac("kept-lookups"), digestmod=hashlib.sha256)
        for part in (self._connector, str(call.meta.get("purpose")), *map(str, call.meta["cache_of"])):
            data = part.encode()
            digest.update(len(data).to_bytes(4, "big"))
            digest.update(data)
        return f"lt:kept:{digest.hexdigest()}"

    async def find(self, exchanges: list[Exchange]) -> None:
        """Give those exchanges their reply whose question was answered not long ago. `kept` names the call that asked."""
        asking = [e for e in exchanges if _may_keep(e.call)]
        if self._redis is None or not asking:
            return
        names = [self._name(e.call) for e in asking]
        try:
            found = await self._redis.mget(names)
        except _AWAY as error:
            log.info("%s: kept answers are away: %s", self._connector, error)
            return
        now = time.time()
        for exchange, name, sealed in zip(asking, names, found, strict=True):
            kept = self._opened(name, sealed)
            # Its own time and today's rule: a connector that keeps answers for a shorter time now means it at once.
            if kept is not None and kept.at <= now <= min(kept.until, kept.at + _cache_s(exchange.call)):
                exchange.reply = Reply(status=kept.status, body=kept.body, headers=kept.headers)
                exchange.kept, exchange.answered = kept.call, False

    def _opened(self, name: str, sealed: Any) -> _Kept | None:
        if sealed is None:
            return None
        try:
            return self._decode(self._keys.decrypt(sealed, name.encode()))
        except (CannotDecrypt, msgspec.DecodeError):
            return None

    async def put(self, exchange: Exchange, reading: Reading) -> None:
        """Keep an answer that settled its delivery, for as long as the call allows."""
        call, reply = exchange.call, exchange.reply
        if self._redis is None or reply is None or not _may_keep(call):
            return
        if not all(type(reading.outcomes.get(d)) is Receipt for d in call.deliveries):
            return
        now, name = time.time(), self._name(call)
        kept = _Kept(
            at=now, until=now + _cache_s(call), call=exchange.id, status=reply.status, headers=_kept_headers(reply), body=reply.body
        )  # fmt: skip
        try:
            await self._redis.set(
                name, self._keys.encrypt(self._encode(kept), name.encode()), px=int(_cache_s(call) * 1000)
            )
        except _AWAY as error:
            log.info("%s: an answer was not kept: %s", self._connector, error)


def _may_keep(call: Call) -> bool:
    return "cache_of" in call.meta and _cache_s(call) > 0


def _cache_s(call: Call) -> float:
    value: Any = call.meta.get("cache_s")
    return float(value) if isinstance(value, int | float) else 0.0


def _kept_headers(reply: Reply) -> dict[str, str]:
    """The one header an answer is read with: when it was given."""
    return {"date": reply.headers["date"]} if "date" in reply.headers else {}
