"""SOAP calls through an X-Road security server, message protocol 4.0.

One concern: X-Road's header blocks around an adapter's SOAP message, and what its answer's blocks prove. It must never
change the adapter's body, nor take an answer for the call's own whose headers differ from the request's. Source: the
X-Road message protocol 4.0, sections 2.1 to 2.5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from typing import Any
from xml.sax.saxutils import escape

from connectors.transports.base import Request
from connectors.transports.envelope import Block, NotSoap, Seen, see, with_headers
from connectors.transports.xroad_faults import judge, origin
from connectors.transports.xroad_settings import Client, Service, XRoadSoapSettings
from hub.kernel.ports import MaybeSent, NotSent, Reply

XROAD = "http://x-road.eu/xsd/xroad.xsd"
IDENTIFIERS = "http://x-road.eu/xsd/identifiers"
VERSION = "4.0"
_HASH = f"{{{XROAD}}}requestHash"
_TYPE = f"{{{IDENTIFIERS}}}objectType"
_FAULT_DETAIL = f"{{{XROAD}}}faultDetail"
_ALGORITHMS = {
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
}
ROOT = "root"
"""Where the attachments' layer remembers the bytes of a multipart request's first part."""

Header = tuple[str, str, tuple[tuple[str, str], ...]]
"""One header block as it is compared: its name, its text, and an identifier's type and parts."""


class XRoadSoap:
    """See `connectors.transports.layers.Layer`."""

    under: str | None = None

    def __init__(self, settings: XRoadSoapSettings) -> None:
        self._settings = settings
        self._client = _identifier("client", settings.client)
        self._service = _identifier("service", settings.service)

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Put the header blocks in, in the order of the protocol's table; a fresh id for every try. A request without
        a body (the live test's) is none of the protocol's."""
        if not request.body:
            return
        own = {n.lower(): v for n, v in request.headers.items() if n.lower().startswith("x-road-")}
        request.headers = {n: v for n, v in request.headers.items() if n.lower() not in own}
        blocks: list[Header] = [self._client, self._service]
        texts = {
            "id": own.get("x-road-id") or str(uuid.uuid4()),
            "userId": own.get("x-road-userid") or self._settings.user_id,
            "issue": own.get("x-road-issue") or self._settings.issue,
            "protocolVersion": VERSION,
        }
        blocks += [(name, text, ()) for name, text in texts.items() if text]
        try:
            request.body = with_headers(request.body, "".join(map(_xml, blocks)).encode())
        except NotSoap as error:
            raise NotSent(f"the call's body is not a SOAP message: {error}") from None
        memory["x-road"] = blocks

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The provider's answer, header blocks and all. A fault of the exchange raises what it proves."""
        if "x-road" not in memory:
            return reply
        try:
            seen = see(reply.body)
        except NotSoap as error:
            if reply.status >= 400:
                return reply  # something in front of the security server; its status says what it is
            raise MaybeSent(f"the exchange's answer is not SOAP: {error}") from None
        headers = [h for h in map(_read, seen.headers) if h is not None]
        if seen.fault is not None:
            fault = _exchange_fault(seen, bool(headers))
            if fault is not None:
                raise fault
            if not headers:
                return reply  # a provider's own fault need not repeat them
        if headers != memory["x-road"]:
            raise MaybeSent("the answer's X-Road headers are not the request's")
        self._check_hash(memory.get(ROOT, sent.body), seen, fault=seen.fault is not None)
        return reply

    def _check_hash(self, posted: bytes, seen: Seen, *, fault: bool) -> None:
        how = self._settings.request_hash
        block = next((b for b in seen.headers if b.tag == _HASH), None)
        if how == "off" or (block is None and fault):
            return
        if block is None:
            raise MaybeSent("the answer carries no requestHash")
        if how == "verify":
            algorithm = _ALGORITHMS.get(block.attributes.get("algorithmId", ""))
            try:
                given = base64.b64decode("".join(block.text.split()), validate=True)
            except binascii.Error:
                given = b""
            if algorithm is None or not hmac.compare_digest(given, hashlib.new(algorithm, posted).digest()):
                raise MaybeSent("the answer's requestHash is not the request's")


def _exchange_fault(seen: Seen, repeated: bool) -> NotSent | MaybeSent | None:
    """The error to raise for a fault of the exchange; None for the provider's own.

    A security server's faults carry its own detail and none of the request's headers, or name a proxy; a code such as
    `Client.Data` alone may as well be the provider's.
    """
    assert seen.fault is not None
    found = origin(seen.fault.code)
    if found is None or (found[0] == "client" and (repeated or _FAULT_DETAIL not in seen.fault.detail)):
        return None
    return judge(seen.fault.code, seen.fault.text)


def _identifier(name: str, who: Client) -> Header:
    parts = [("xRoadInstance", who.instance), ("memberClass", who.member_class), ("memberCode", who.member_code)]
    if who.subsystem:
        parts.append(("subsystemCode", who.subsystem))
    kind = "SUBSYSTEM" if who.subsystem else "MEMBER"
    if isinstance(who, Service):
        kind = "SERVICE"
        parts.append(("serviceCode", who.service))
        if who.service_version:
            parts.append(("serviceVersion", who.service_version))
    return name, kind, tuple(parts)


def _xml(header: Header) -> str:
    name, text, parts = header
    if not parts:
        return f'<xrd:{name} xmlns:xrd="{XROAD}">{escape(text)}</xrd:{name}>'
    inner = "".join(f"<id:{n}>{escape(v)}</id:{n}>" for n, v in parts)
    return f'<xrd:{name} xmlns:xrd="{XROAD}" xmlns:id="{IDENTIFIERS}" id:objectType="{text}">{inner}</xrd:{name}>'


def _read(block: Block) -> Header | None:
    """A header block in the form it is compared in; None for one that is not X-Road's, or is the hash."""
    space, _, name = block.tag.rpartition("}")
    if space != "{" + XROAD or block.tag == _HASH:
        return None
    if not block.children:
        return name, block.text, ()
    own = "{" + IDENTIFIERS + "}"
    # A part in another namespace keeps its whole tag and so compares unequal.
    return name, block.attributes.get(_TYPE, ""), tuple((c.tag.removeprefix(own), c.text) for c in block.children)
