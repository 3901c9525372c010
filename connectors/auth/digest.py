"""HTTP Digest (RFC 7616), as cameras, gates and older gateways ask for it.

One concern: answering a server's challenge. It must never show the password, answer a challenge for another realm than
the pinned one, or fall back to a weaker scheme: a server that asks for Basic gets nothing.

The first call goes out without credentials; the 401 it earns proves that nothing was done, brings the challenge, and
the call is sent again with the answer. Later calls answer the same nonce with a rising count, so they need one round
trip each, until the server calls the nonce stale.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random_source
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct
from yarl import URL

from connectors.auth.base import Clock, Exchange
from connectors.auth.fixed import with_headers
from connectors.declare import Declared, Secret, setting
from connectors.errors import CredentialsRefused
from connectors.transports.base import Request
from hub.kernel.ports import Reply, Text

_HASHES: dict[str, Any] = {
    "MD5": hashlib.md5,
    "SHA-256": hashlib.sha256,
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data),
}
_SILENT_S = 60.0
_STRENGTH = ("SHA-512-256", "SHA-256", "MD5")
_PARAMETER = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*')
_SCHEME = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+|$)")


class DigestSettings(Declared):
    """User name and password, never sent themselves: only a hash over them, the server's nonce and the request."""

    ABOUT = Text("Tên và mật khẩu (HTTP Digest)", "User name and password (HTTP Digest)")
    SECRETS = (Secret(name="password", title=Text("Mật khẩu", "Password")),)
    scheme: Literal["digest"] = "digest"
    username: str = setting("Tên đăng nhập", "User name", example="admin", min_length=1, pattern=r'^[^\x00-\x1f"\\]+$')
    weakest: Literal["MD5", "SHA-256"] = setting(
        "Thuật toán yếu nhất chấp nhận",
        "Weakest algorithm accepted",
        default="MD5",
        help=Text("Nhiều camera, cổng chỉ có MD5", "Many cameras and gates know MD5 only"),
    )
    realm: str | None = setting(
        "Vùng (realm) bắt buộc",
        "Pinned realm",
        default=None,
        example="IP Camera(12345)",
        help=Text("Trống: vùng nào cũng trả lời", "Empty: any realm is answered"),
    )

    def build(self, secrets: Mapping[str, str], clock: Clock) -> Digest:
        """The scheme, ready for use."""
        return Digest(self, secrets["password"], clock)


class Challenge(Struct, frozen=True, kw_only=True):
    """One Digest challenge of a server. `algorithm` without its `-sess`; `qop` is whether `auth` was offered."""

    realm: str
    nonce: str
    algorithm: str
    session: bool
    qop: bool
    opaque: str | None
    stale: bool
    userhash: bool


class Digest:
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, settings: DigestSettings, password: str, clock: Clock) -> None:
        self._settings = settings
        self._password = password
        self._clock = clock
        self._challenge: Challenge | None = None
        self._count = 0
        self._proven = False
        """Whether an answer to the held challenge has been accepted."""
        self._silent_until = 0.0

    def __repr__(self) -> str:
        return f"Digest(username={self._settings.username!r})"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request with the answer to the challenge held; as it is while there is none. Right after credentials
        were refused nothing is sent at all: devices lock an account after a few wrong answers."""
        if self._clock() < self._silent_until:
            raise CredentialsRefused(f"the server refused user {self._settings.username}")
        if self._challenge is None:
            return request
        self._count += 1
        value = authorization(
            self._challenge,
            self._settings.username,
            self._password,
            request.method,
            URL(request.url).raw_path_qs,
            self._count,
            random_source.token_hex(16),
        )
        return with_headers(request, {"Authorization": value})

    def lapsed(self, signed: Request, reply: Reply) -> bool:
        """True for a 401 that brings a challenge the request has not answered yet, or calls its nonce stale.

        A 401 to the first answer a fresh nonce gets means wrong credentials, whatever new nonce comes with it.
        """
        answered = _nonce_of(signed)
        held = self._challenge
        if reply.status != 401:
            if held is not None and answered == held.nonce:
                self._proven = True
            return False
        challenge = choose(reply.headers.get("www-authenticate", ""), self._settings.weakest, self._settings.realm)
        if challenge is None:
            return False
        if answered is not None and held is not None and answered == held.nonce:
            if not challenge.stale and not self._proven:
                self._challenge = None
                self._silent_until = self._clock() + _SILENT_S
                return False
        elif held is not None and self._proven:
            return True  # another call has met a newer challenge meanwhile: answer that one
        self._challenge, self._count, self._proven = challenge, 0, False
        return True

    async def check(self, exchange: Exchange, deadline_s: float) -> bool:
        """Nothing to log in to: the live test's own request meets the challenge, even right after a refusal."""
        self._challenge, self._silent_until = None, 0.0
        return False


def authorization(
    challenge: Challenge, username: str, password: str, method: str, uri: str, count: int, cnonce: str
) -> str:
    """The `Authorization` header's value (RFC 7616 section 3.4); without `qop` as RFC 2069 has it."""

    def h(text: str) -> str:
        return str(_HASHES[challenge.algorithm](text.encode()).hexdigest())

    first = h(f"{username}:{challenge.realm}:{password}")
    if challenge.session:
        first = h(f"{first}:{challenge.nonce}:{cnonce}")
    second = h(f"{method}:{uri}")
    shown = h(f"{username}:{challenge.realm}") if challenge.userhash else username
    name = challenge.algorithm + ("-sess" if challenge.session else "")
    fields = [
        f'username="{_quoted(shown)}"',
        f'realm="{_quoted(challenge.realm)}"',
        f'nonce="{_quoted(challenge.nonce)}"',
        f'uri="{_quoted(uri)}"',
        f"algorithm={name}",
    ]
    if challenge.qop:
        response = h(f"{first}:{challenge.nonce}:{count:08x}:{cnonce}:auth:{second}")
        fields += ["qop=auth", f"nc={count:08x}"]
    else:
        response = h(f"{first}:{challenge.nonce}:{second}")
    if challenge.qop or challenge.session:
        fields.append(f'cnonce="{cnonce}"')
    fields.append(f'response="{response}"')
    if challenge.opaque is not None:
        fields.append(f'opaque="{_quoted(challenge.opaque)}"')
    if challenge.userhash:
        fields.append("userhash=true")
    return "Digest " + ", ".join(fields)


def choose(header: str, weakest: str, realm: str | None) -> Challenge | None:
    """The strongest Digest challenge of a `WWW-Authenticate` value (several may be joined by commas) that is not
    weaker than allowed and of the pinned realm; None when there is none. Any text whatever may be given."""
    allowed = _STRENGTH[: _STRENGTH.index(weakest) + 1]
    found: list[Challenge] = []
    for scheme, fields in _challenges(header):
        name = fields.get("algorithm", "MD5")
        session = name.lower().endswith("-sess")
        algorithm = (name[:-5] if session else name).upper()
        offered = {q.strip().lower() for q in fields["qop"].split(",")} if "qop" in fields else None
        if scheme != "digest" or algorithm not in allowed or not fields.get("nonce") or "realm" not in fields:
            continue
        if (offered is not None and "auth" not in offered) or (realm is not None and fields["realm"] != realm):
            continue
        if any(not c.isprintable() for v in fields.values() for c in v):
            continue
        found.append(
            Challenge(
                realm=fields["realm"],
                nonce=fields["nonce"],
                algorithm=algorithm,
                session=session,
                qop=offered is not None,
                opaque=fields.get("opaque"),
                stale=fields.get("stale", "").lower() == "true",
                userhash=fields.get("userhash", "").lower() == "true",
            )
        )
    return min(found, key=lambda c: _STRENGTH.index(c.algorithm), default=None)


def _challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Schemes and their parameters, in order. What cannot be read ends the reading."""
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(header):
        parameter = _PARAMETER.match(header, at)
        if parameter and found:
            name, quoted, plain = parameter.groups()
            found[-1][1].setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
            at = parameter.end()
        elif header[at] == ",":
            at += 1
        else:
            scheme = _SCHEME.match(header, at)
            if scheme is None:
                break
            found.append((scheme.group(1).lower(), {}))
            at = scheme.end()
    return found


def _nonce_of(signed: Request) -> str | None:
    value = next((v for n, v in signed.headers.items() if n.lower() == "authorization"), "")
    return next((fields.get("nonce") for scheme, fields in _challenges(value) if scheme == "digest"), None)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
