"""Where gates that speak HTTP come to: `/iclock/…`, `/gates/{secret}/iclock|hikvision|hanet|face_http`.

One concern: reading an address. It must never look at what was sent, or know a gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from iot.face_http.decode import FAMILY as FACE_HTTP
from iot.hanet.decode import FAMILY as HANET
from iot.hikvision.decode import FAMILY as HIKVISION
from iot.web import WebFamily
from iot.zkteco.decode import FAMILY as ZKTECO

_PLAIN, _SECRET = "/iclock/", "/gates/"
ROOTS = (_PLAIN, _SECRET)
"""How addresses of gates begin."""
_BELOW: Mapping[str, WebFamily] = {
    "iclock": ZKTECO, "hikvision": HIKVISION, "hanet": HANET, "face_http": FACE_HTTP,
}  # fmt: skip
_ZKTECO_SAYS, _OTHERS_SAY = frozenset({"GET", "HEAD", "POST"}), frozenset({"POST"})


class Caller(NamedTuple):
    """Whose address a request came to. `path`: as declared, for it may be logged and the one that was asked holds a secret."""

    path: str
    family: WebFamily
    secret: str | None
    rest: str
    """Below the family's own root."""

    @property
    def says(self) -> frozenset[str]:
        """The methods that gates of this family use."""
        return _ZKTECO_SAYS if self.family is ZKTECO else _OTHERS_SAY


def caller(path: str) -> Caller | None:
    """Who speaks at an address that begins with one of `ROOTS`: ZKTeco gates behind a secret path, or without one where the
    gate's profile lets them; Hikvision and face terminals' event push; the HANET cloud's webhook. None: nobody."""
    if path.startswith(_PLAIN):
        return Caller("/iclock/{path}", ZKTECO, None, path[len(_PLAIN) :])
    secret, _, below = path[len(_SECRET) :].partition("/")
    name, slash, rest = below.partition("/")
    family = _BELOW.get(name)
    if family is None or not secret or bool(slash) != (family is ZKTECO):
        return None
    return Caller(f"/gates/{{secret}}/{name}{'/{path}' if slash else ''}", family, secret, rest)
