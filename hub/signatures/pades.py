"""PAdES: the signatures inside a PDF.

One concern: what pyHanko says of each, in our words. Later revisions that only add signatures or validation data are what
the standard allows; any other change after a signature is an alteration.
"""

from __future__ import annotations

import io
import logging
from datetime import timedelta
from typing import Any

from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko.sign.validation.status import SignatureCoverageLevel

from hub.signatures import ALTERED, PARTIAL, REVOKED, UNREADABLE, UNTRUSTED, Signature
from hub.signatures.trust import Trust, aware

logging.getLogger("pyhanko").setLevel(logging.CRITICAL)  # it would tell signers' names; what matters is in the verdict

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
    moment = aware(at)
    problems = []
    try:
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
        elif (bad := await trust.problem(leaf, sig.other_embedded_certs, moment)) is not None:
            problems.append(bad)
    except Exception:
        problems.append(UNREADABLE)
    if at is not None and moment > aware(None) + _FUTURE:
        problems.append(UNTRUSTED)
    return Signature(
        form="PAdES", signed_at=moment.isoformat() if at else None, problems=tuple(dict.fromkeys(problems)), **names
    )
