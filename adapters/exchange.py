"""What an exchange platform's error says about delivery, where no layer of the connector stands in between to read it.

One concern: from an answer's `x-road-error` to an outcome. It must never call a request undelivered unless the file the layers
go by names the code as one that comes before delivery: what is resent as "not sent" would stand twice at the other side. It is
never more certain than they are (a test holds the two together), and never raises, whatever the bytes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from hub.kernel.ports import NeedsPerson, Outcome, Reply, Text, TryLater, Unknown

ERROR = "x-road-error"
REFUSED = Text(
    "Trục kết nối từ chối yêu cầu của phía gửi. Kiểm tra định danh và quyền của kết nối trên trục.",
    "The exchange refused the sender's request. Check the connector's identity and rights on the exchange.",
)
_BODY_MAX = 65_536


_FILE = Path(__file__).parents[1] / "connectors" / "transports" / "xroad.yaml"
"""What single codes prove: data that adapters and layers share, for neither may import the other."""


class Profile(Struct, frozen=True):
    """What is read of `xroad.yaml`; its codes in the form they are compared in."""

    client_proxy_before_delivery: frozenset[str]
    connect_failed_messages: tuple[str, ...]
    server_proxy_refusals: frozenset[str]


class _Said(Struct):
    type: str = ""
    message: str = ""


_said = msgspec.json.Decoder(_Said)


@cache
def profile() -> Profile:
    """What is taken for certain."""
    read = msgspec.convert(yaml.safe_load(_FILE.read_text("utf-8")), type=Profile)
    return msgspec.structs.replace(
        read,
        client_proxy_before_delivery=frozenset(map(_plain, read.client_proxy_before_delivery)),
        server_proxy_refusals=frozenset(map(_plain, read.server_proxy_refusals)),
    )


def outcome(reply: Reply) -> Outcome | None:
    """What an error of the exchange means for a whole call; None when the answer is not the exchange's own.

    `Client.*`: refused before it left. `Server.ClientProxy.*`: not sent where the code or its message proves it.
    `Server.ServerProxy.*`: refused where that server lets nobody through. All else, and an error without an origin: in doubt.
    """
    if ERROR not in reply.headers:
        return None
    said = _told(reply.body)
    for code in (reply.headers[ERROR], said.type):
        parts = [_plain(part) for part in code.split(".")]
        reason, known = f"X-Road: {code.strip()}"[:200], profile()
        if parts[0] == "client" and len(parts) > 1:
            return _refused(code)
        if parts[:2] == ["server", "serverproxy"]:
            certain = _all_in(parts[2:], known.server_proxy_refusals)
            return _refused(code) if certain else Unknown(reason=reason)
        if parts[:2] == ["server", "clientproxy"]:
            unconnected = any(words in said.message.lower() for words in known.connect_failed_messages)
            certain = unconnected or _all_in(parts[2:], known.client_proxy_before_delivery)
            return TryLater(reason=reason) if certain else Unknown(reason=reason)
    return Unknown(reason=f"X-Road: an error of no known origin (HTTP {reply.status})")


def _refused(code: str) -> NeedsPerson:
    return NeedsPerson(cause="exchange_refused", subject=code.strip()[:100], message=REFUSED, scope="connector")


def _all_in(parts: list[str], known: frozenset[str]) -> bool:
    return bool(parts) and known.issuperset(parts)


def _told(body: bytes) -> _Said:
    """`{type, message}` of the exchange's own answer; empty where it cannot be read."""
    try:
        return _said.decode(body) if len(body) < _BODY_MAX else _Said()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Said()


def _plain(code: str) -> str:
    return code.replace("_", "").strip().lower()
