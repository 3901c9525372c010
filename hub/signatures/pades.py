"""PAdES: the signatures inside a PDF.

One concern: what pyHanko says of each, in our words, at the time its time stamps prove: those on its own value, and those on
the document (DocTimeStamp, as in PAdES-LTA) that were made over its very bytes. Later revisions that only add signatures, stamps
or validation data are what the standard allows; any other change after a signature is an alteration.
"""

from __future__ import annotations

import io
from datetime import timedelta
from itertools import islice
from typing import Any

from asn1crypto import cms
from msgspec import Struct
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.fields import SigSeedSubFilter, enumerate_sig_fields
from pyhanko.sign.general import find_cms_attribute_iter
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from hub.signatures import ALTERED, PARTIAL, REVOKED, STAMP_UNREADABLE, UNREADABLE, UNTRUSTED, Signature, stamps
from hub.signatures.trust import Trust, aware

_MOST = 20
_FUTURE = timedelta(hours=1)
_UNREADABLE = Signature(form="PAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,))
_KINDS = frozenset(kind.value for kind in SigSeedSubFilter)


class _Sealed(Struct, frozen=True):
    """A time stamp on the document: where its own place begins (all before it is stamped), and what it proves."""

    upto: int
    stamp: stamps.Stamp


async def signatures(body: bytes, trust: Trust) -> tuple[Signature, ...]:
    """Every signature of a PDF. Raises nothing for any bytes whatever."""
    try:
        reader = PdfFileReader(io.BytesIO(body), strict=False)
        fields = [f for f in enumerate_sig_fields(reader, filled_status=True) if _of_signing(f[1])]
        if len(fields) > _MOST:
            return (_UNREADABLE,)
        stamped = [f for f in fields if f[1].get_object().get("/Type") == "/DocTimeStamp"]
        signed = [EmbeddedPdfSignature(reader, f[2], f[0]) for f in fields if f not in stamped]
        signed.sort(key=lambda one: one.signed_revision)
    except Exception:
        return (_UNREADABLE,)
    # What stands on the document is judged once, whatever the number of signatures below it.
    sealed = [await _sealed(reader, name, field, body, trust) for name, _, field in stamped]
    return tuple([await _one(sig, trust, sig is not signed[-1], _over(sig, body, sealed)) for sig in signed])


def _of_signing(held: Any) -> bool:
    """Whether the value of a field is of a kind the library reads: others are nobody's signature."""
    return held.get_object().get("/SubFilter") in _KINDS


async def _sealed(reader: Any, name: str, field: Any, body: bytes, trust: Trust) -> _Sealed:
    """What a time stamp on the document proves, and of how much. One that cannot be read is so for every signature."""
    try:
        one = EmbeddedPdfSignature(reader, field, name)
        start, end, until = _place(one, body)
        # Its place is filled up with zeros behind the token.
        der = cms.ContentInfo.load(one.pkcs7_content).dump()
    except Exception:
        return _Sealed(len(body), stamps.Stamp(problems=(STAMP_UNREADABLE,)))
    token = stamps.Token(der, body[:start] + body[end:until])
    return _Sealed(start, await stamps.judge(lambda: [token], trust))


def _over(sig: Any, body: bytes, sealed: list[_Sealed]) -> list[stamps.Stamp]:
    """Those of the stamps on the document that were made over a signature, its own value and all that it signs: no byte of it
    may stand elsewhere, or a signature made later would point back to what was stamped before."""
    try:
        _, _, until = _place(sig, body)
    except Exception:
        return []
    return [one.stamp for one in sealed if until <= one.upto]


def _place(sig: Any, body: bytes) -> tuple[int, int, int]:
    """(where the place of a signature's value begins, where it ends, where what it signs ends), all from the first byte on.
    Raises ValueError where that is not one piece around this very value."""
    zero, start, end, rest = (int(n) for n in sig.byte_range)
    whole = zero == 0 and 0 < start < end <= end + rest <= len(body)
    if not whole or body[start : start + 1] + body[end - 1 : end] != b"<>":
        raise ValueError("not around its own value")
    if bytes.fromhex(body[start + 1 : end - 1].decode("ascii")) != sig.pkcs7_content:
        raise ValueError("another value than its own")
    return start, end, end + rest


async def _one(sig: Any, trust: Trust, signed_later: bool, over: list[stamps.Stamp]) -> Signature:
    try:
        leaf = sig.signer_cert
        names = {
            "signer": leaf.subject.human_friendly[:300], "issuer": leaf.issuer.human_friendly[:300], "serial": f"{leaf.serial_number:x}",
        }  # fmt: skip
        at = sig.self_reported_timestamp
    except Exception:
        return _UNREADABLE
    claimed = aware(at)
    stamp = stamps.together(await stamps.judge(lambda: _tokens(sig), trust), *over)
    moment = stamp.at or claimed
    problems = []
    try:
        # The library would judge the time stamps again, all of them and by another measure.
        del sig.signer_info["unsigned_attrs"]
        status = await async_validate_pdf_signature(
            sig, signer_validation_context=trust.context(leaf, moment, sig.other_embedded_certs)
        )
        level = status.modification_level
        # A later signature is a change to a form; whoever made it vouches for the rest of that change.
        allowed = ModificationLevel.FORM_FILLING if signed_later else ModificationLevel.LTA_UPDATES
        changed = level is not None and level.value > allowed.value
        if not (status.intact and status.valid and status.docmdp_ok) or changed:
            problems.append(ALTERED)
        elif status.coverage is not None and status.coverage.value < SignatureCoverageLevel.ENTIRE_REVISION.value:
            problems.append(PARTIAL)
        if status.revoked:
            problems.append(REVOKED)
        elif (bad := await trust.problem(leaf, sig.other_embedded_certs, claimed, stamp.at)) is not None:
            problems.append(bad)
    except Exception:
        problems.append(UNREADABLE)
    if at is not None and claimed > aware(None) + _FUTURE:
        problems.append(UNTRUSTED)
    return Signature(
        form="PAdES", signed_at=claimed.isoformat() if at else None, stamped_at=stamp.at.isoformat() if stamp.at else None,
        stamped_by=stamp.by, problems=tuple(dict.fromkeys([*problems, *stamp.problems])), **names
    )  # fmt: skip


def _tokens(sig: Any) -> list[stamps.Token]:
    """The stamps on the signature's own value; with one too many none is looked at. Raises asn1crypto's ValueError."""
    info = sig.signer_info
    found = find_cms_attribute_iter(info["unsigned_attrs"], "signature_time_stamp_token")
    return [stamps.Token(one.dump(), info["signature"].native) for one in islice(found, stamps.MOST + 1)]
