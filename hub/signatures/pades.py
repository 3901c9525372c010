"""PAdES: the signatures inside a PDF.

One concern: what pyHanko says of each, in our words, at the time its time stamps prove. Later revisions that only add
signatures or validation data are what the standard allows; any other change after a signature is an alteration.
"""

from __future__ import annotations

import io
from datetime import timedelta
from itertools import islice
from typing import Any

from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.general import find_cms_attribute_iter
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from hub.signatures import ALTERED, PARTIAL, REVOKED, UNREADABLE, UNTRUSTED, Signature, stamps
from hub.signatures.trust import Trust, aware

_MOST = 20
_FUTURE = timedelta(hours=1)


async def signatures(body: bytes, trust: Trust) -> tuple[Signature, ...]:
    """Every signature of a PDF. Raises nothing for any bytes whatever."""
    try:
        reader = PdfFileReader(io.BytesIO(body), strict=False)
        embedded = list(reader.embedded_regular_signatures)
    except Exception:
        return (Signature(form="PAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,)),)
    if len(embedded) > _MOST:
        return (Signature(form="PAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,)),)
    return tuple([await _one(sig, trust, sig is not embedded[-1]) for sig in embedded])


async def _one(sig: Any, trust: Trust, signed_later: bool) -> Signature:
    try:
        leaf = sig.signer_cert
        names = {
            "signer": leaf.subject.human_friendly[:300], "issuer": leaf.issuer.human_friendly[:300], "serial": f"{leaf.serial_number:x}",
        }  # fmt: skip
    except Exception:
        return Signature(form="PAdES", signer="", issuer="", serial="", signed_at=None, problems=(UNREADABLE,))
    at = sig.self_reported_timestamp
    claimed = aware(at)
    stamp = await stamps.judge(lambda: _tokens(sig), trust)
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
        problems=tuple(dict.fromkeys([*problems, *stamp.problems])), **names
    )  # fmt: skip


def _tokens(sig: Any) -> list[stamps.Token]:
    """The stamps on the signature's own value; with one too many none is looked at. Raises asn1crypto's ValueError."""
    info = sig.signer_info
    found = find_cms_attribute_iter(info["unsigned_attrs"], "signature_time_stamp_token")
    return [stamps.Token(one.dump(), info["signature"].native) for one in islice(found, stamps.MOST + 1)]
