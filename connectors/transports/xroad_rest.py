"""REST calls through an X-Road security server.

One concern: X-Road's headers on a call, and what its answer's headers prove. It must never take an answer for the
call's own whose identifiers or request hash say otherwise. Source: the X-Road message protocol for REST, sections 4.1
to 4.6; the bytes under the hash follow the product's own serialisation of a request's head.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from yarl import URL

from connectors.transports.base import Request
from connectors.transports.xroad_faults import judge
from connectors.transports.xroad_settings import XRoadRestSettings, identifier
from hub.kernel.ports import MaybeSent, NotSent, Reply

PROTOCOL = "r1"
_NOT_HASHED = frozenset(
    {
        "connection", "content-length", "expect", "host", "keep-alive", "pragma", "proxy-authenticate",
        "proxy-authorization", "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
        "x-road-request-hash", "x-road-request-id",
    }
)  # fmt: skip
_FIXED = frozenset({"x-road-client", "x-road-security-server", "x-road-request-hash", "x-road-request-id"})
_ERROR = "x-road-error"


class _Said(msgspec.Struct):
    type: str = ""
    message: str = ""


_said = msgspec.json.Decoder(_Said)


def service_path(settings: XRoadRestSettings) -> str:
    """`r1/{serviceId}`: what stands between the security server's address and a call's path."""
    service = settings.service
    return f"{PROTOCOL}/{identifier([*service.parts(), service.service])}"


class XRoadRest:
    """See `connectors.transports.layers.Layer`."""

    def __init__(self, settings: XRoadRestSettings) -> None:
        self._settings = settings
        self._client = settings.client.parts()
        self._service = [*settings.service.parts(), settings.service.service]
        self._base = str(URL(f"{settings.base_url}/{PROTOCOL}/"))
        self.under: str | None = self._base
        self._header = identifier(self._client)

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Add the mandatory client, a fresh id, and user and issue where they are known."""
        own = {n.lower(): v for n, v in request.headers.items()}
        if _FIXED.intersection(own):
            raise NotSent("a call must not set X-Road's client, server or hash headers itself")
        added = {
            "Accept": own.get("accept") or self._settings.accept,
            # Said in so many words, because it is under the hash.
            "Accept-Encoding": "identity",
            "X-Road-Client": self._header,
            "X-Road-Id": own.get("x-road-id") or str(uuid.uuid4()),
        }
        for name, known in (("X-Road-UserId", self._settings.user_id), ("X-Road-Issue", self._settings.issue)):
            value = own.get(name.lower()) or known
            if value:
                added[name] = value
        names = {n.lower() for n in added}
        request.headers = {n: v for n, v in request.headers.items() if n.lower() not in names} | added
        memory["x-road-id"] = added["X-Road-Id"]
        memory["x-road-service"] = self._called(request.url)

    def _called(self, url: str) -> list[str]:
        """The service an address names, which is another than the calls' where a provider logs in by one of its own."""
        most = len(self._service)
        named = [unquote(p) for p in url.removeprefix(self._base).partition("?")[0].split("/", most)[:most]]
        return named if len(named) == most and url.startswith(self._base) else self._service

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The provider's answer. An error of the exchange raises what it proves; an answer that does not belong to
        the call raises `MaybeSent`."""
        headers = reply.headers
        if _ERROR in headers:
            raise self._fault(reply)
        if reply.status >= 400 and not any(n.startswith("x-road-") for n in headers):
            return reply  # something in front of the security server; its status says what it is
        self._check_echo(memory, headers)
        self._check_hash(sent, headers)
        return reply

    def _fault(self, reply: Reply) -> NotSent | MaybeSent:
        flag = reply.headers[_ERROR]
        try:
            said = _said.decode(reply.body) if len(reply.body) < 65536 else _Said()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = _Said()
        return (
            judge(flag, said.message)
            or judge(said.type, said.message)
            or MaybeSent(
                f"the exchange answered with an error of its own that says nothing of its origin (status {reply.status})"
            )
        )

    def _check_echo(self, memory: dict[str, Any], headers: dict[str, str]) -> None:
        for name, expected in (("x-road-client", self._client), ("x-road-service", memory["x-road-service"])):
            if [unquote(p) for p in headers.get(name, "").split("/")] != expected:
                raise MaybeSent(f"the answer's {name} is not the request's")
        if headers.get("x-road-id") != memory["x-road-id"]:
            raise MaybeSent("the answer's x-road-id is not the request's")

    def _check_hash(self, sent: Request, headers: dict[str, str]) -> None:
        how = self._settings.request_hash
        given = headers.get("x-road-request-hash")
        if how == "off":
            return
        if not given:
            raise MaybeSent("the answer carries no X-Road-Request-Hash")
        if how == "verify":
            try:
                raw = base64.b64decode(given, validate=True)
            except binascii.Error:
                raw = b""
            if not hmac.compare_digest(raw, request_hash(sent, headers.get("x-road-request-id", ""))):
                raise MaybeSent("the answer's X-Road-Request-Hash is not the request's")


def request_hash(sent: Request, request_id: str) -> bytes:
    """SHA-512 over the head, and over both digests where there is a body (PR-REST section 4.3). The head: method, path
    with query, each header that the exchange passes on as `name:value`, and the request id its first server gave."""
    parts = urlsplit(sent.url)
    lines = [sent.method, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")]
    lines += [f"{name}:{value.strip()}" for name, value in sent.headers.items() if name.lower() not in _NOT_HASHED]
    lines.append(f"x-road-request-id:{request_id}")
    head = hashlib.sha512("".join(f"{line}\r\n" for line in lines).encode()).digest()
    return hashlib.sha512(head + hashlib.sha512(sent.body).digest()).digest() if sent.body else head
