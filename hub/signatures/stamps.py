"""Time stamps (RFC 3161) on signatures: what proves that a signature was there at a time.

One concern: whether a token that came with a signature holds, and the time it proves. It must never believe an authority that
is not among the trusted, nor one whose certificate is known to be revoked, whenever that was: nothing proves the token's own time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from asn1crypto import cms, tsp
from msgspec import Struct
from pyhanko.sign.validation.generic_cms import (
    extract_certs_for_validation,
    get_signing_cert_attr,
    validate_tst_signed_data,
)

from hub.kernel.ports import Text
from hub.signatures import STAMP_FUTURE, STAMP_OTHER, STAMP_UNREADABLE, STAMP_UNTRUSTED, UNCHECKED
from hub.signatures.trust import Trust, aware

logging.getLogger("pyhanko").setLevel(logging.CRITICAL)  # it would tell signers' names; what matters is in the verdict

MOST = 4
"""Tokens of one signature that are looked at; with more of them none counts."""
LARGEST = 128 * 1024
"""Bytes of a token; one with its whole chain has some ten thousand."""
_AHEAD = timedelta(minutes=5)
_IMPRINTS = {"sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"}


class Token(Struct, frozen=True):
    """A time-stamp token (DER) and the bytes it has to be the stamp of."""

    der: bytes
    covers: bytes


class Stamp(Struct, frozen=True):
    """`at`: the earliest time proved and `by` the name of the authority that says so, None when none is. `problems`: a text for
    each way in which a token does not hold."""

    at: datetime | None = None
    by: str | None = None
    problems: tuple[Text, ...] = ()


async def judge(read: Callable[[], list[Token]], trust: Trust) -> Stamp:
    """What the tokens of a signature prove. Raises nothing, whatever they are, or if reading them out does."""
    try:
        tokens = read()
    except Exception:
        return Stamp(problems=(STAMP_UNREADABLE,))
    if len(tokens) > MOST:
        return Stamp(problems=(STAMP_UNREADABLE,))
    return together(*[await _one(token, trust) for token in tokens])


def together(*found: Stamp) -> Stamp:
    """What several prove: the earliest time counts, and none that does not hold is passed over."""
    at, by = min(((f.at, f.by) for f in found if f.at is not None), key=itemgetter(0), default=(None, None))
    return Stamp(at=at, by=by, problems=tuple(dict.fromkeys(p for f in found for p in f.problems)))


async def _one(token: Token, trust: Trust) -> Stamp:
    """The time a token proves: the latest its accuracy leaves open. Or why it proves none."""
    try:
        proved = await _proved(token, trust)
    except Exception:
        proved = STAMP_UNREADABLE
    return Stamp(problems=(proved,)) if isinstance(proved, Text) else proved


async def _proved(token: Token, trust: Trust) -> Stamp | Text:
    if len(token.der) > LARGEST:
        return STAMP_UNREADABLE
    signed = cms.ContentInfo.load(token.der, strict=True)["content"]
    info = signed["encap_content_info"]["content"].parsed
    if not isinstance(info, tsp.TSTInfo):
        return STAMP_UNREADABLE
    at = aware(info["gen_time"].native)
    by = at + _accuracy(info)
    imprint = info["message_imprint"]
    name = imprint["hash_algorithm"]["algorithm"].native
    if name not in _IMPRINTS or hashlib.new(name, token.covers).digest() != imprint["hashed_message"].native:
        return STAMP_OTHER
    certificates = extract_certs_for_validation(signed)
    authority, others = certificates.signer_cert, list(certificates.other_certs)
    status = await validate_tst_signed_data(
        signed, trust.context(authority, at, others), lambda name: hashlib.new(name, token.covers).digest()
    )
    if not (status["intact"] and status["valid"]):
        return STAMP_OTHER
    if get_signing_cert_attr(signed["signer_infos"][0]["signed_attrs"]) is None:
        return STAMP_OTHER
    if (bad := await trust.problem(authority, others, at)) is not None:
        return UNCHECKED if bad is UNCHECKED else STAMP_UNTRUSTED
    if status["trust_problem_indic"] is not None or not _may_stamp(authority):
        return STAMP_UNTRUSTED
    return STAMP_FUTURE if at > aware(None) + _AHEAD else Stamp(by, authority.subject.human_friendly[:300])


def _accuracy(info: Any) -> timedelta:
    told = info["accuracy"].native or {}
    return timedelta(
        seconds=told.get("seconds") or 0, milliseconds=told.get("millis") or 0, microseconds=told.get("micros") or 0
    )


def _may_stamp(certificate: Any) -> bool:
    """RFC 3161, 2.3: a key for time stamps alone, and said so in a way that nobody may pass over."""
    purposes, usage = certificate.extended_key_usage_value, certificate.key_usage_value
    return (
        purposes is not None
        and purposes.native == ["time_stamping"]
        and "extended_key_usage" in certificate.critical_extensions
        and (usage is None or bool(usage.native & {"digital_signature", "non_repudiation"}))
    )
