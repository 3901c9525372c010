"""Whose error it was: the client's security server, the provider's, or the provider itself.

One concern: from an exchange platform's error code to what is certain about delivery. It must never call a request
undelivered unless the origin of the error makes that certain.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from connectors.errors import ExchangeRefused, ServiceRefused
from hub.kernel.ports import MaybeSent, NotSent

_LONG_NUMBER = re.compile(r"\d{6,}")
"""A fault may quote the number it was asked about; it goes into logs masked."""

Origin = Literal["client", "client_proxy", "server_proxy"]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What single codes prove; see `xroad.yaml`."""

    version: int
    assumed: bool
    why: str
    client_proxy_before_delivery: frozenset[str]
    connect_failed_messages: tuple[str, ...]
    server_proxy_refusals: frozenset[str]


@cache
def profile() -> Profile:
    """The profile beside this module, its codes in the form they are compared in."""
    read = msgspec.convert(yaml.safe_load(Path(__file__).with_name("xroad.yaml").read_text("utf-8")), type=Profile)
    return msgspec.structs.replace(
        read,
        client_proxy_before_delivery=frozenset(map(_plain, read.client_proxy_before_delivery)),
        server_proxy_refusals=frozenset(map(_plain, read.server_proxy_refusals)),
    )


def origin(code: str) -> tuple[Origin, tuple[str, ...]] | None:
    """Where on the exchange an error arose, and the code's further parts; None when it is none of the exchange's own."""
    parts = [_plain(p) for p in code.strip().split(".")]
    if parts[0] == "server" and len(parts) > 1:
        if parts[1] == "clientproxy":
            return "client_proxy", tuple(parts[2:])
        if parts[1] == "serverproxy":
            return "server_proxy", tuple(parts[2:])
    # A bare `Client` is SOAP's own fault code, which providers use as well.
    if parts[0] == "client" and len(parts) > 1:
        return "client", tuple(parts[1:])
    return None


def judge(code: str, message: str) -> NotSent | MaybeSent | None:
    """The error to raise for an error code of the exchange; None when the code is not the exchange's.

    `message` is read only for the product's own words about a failed connection; a short form goes into the error.
    """
    found = origin(code)
    if found is None:
        return None
    whose, rest = found
    known = profile()
    said = f"{code.strip()[:120]}: {_LONG_NUMBER.sub('…', ' '.join(message.split()))[:160]}"
    if whose == "client":
        return ExchangeRefused(f"the security server refused the request: {said}")
    if whose == "client_proxy":
        unconnected = any(m in message.lower() for m in known.connect_failed_messages)
        if unconnected or (rest and known.client_proxy_before_delivery.issuperset(rest)):
            return NotSent(f"our security server did not pass the request on: {said}")
        return MaybeSent(f"our security server may have passed the request on: {said}")
    if known.server_proxy_refusals.intersection(rest):
        return ServiceRefused(f"the provider's security server does not let us in: {said}")
    return MaybeSent(f"the provider's security server failed: {said}")


def _plain(code: str) -> str:
    return code.replace("_", "").strip().lower()
