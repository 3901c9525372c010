"""Archive time stamps in XML: what one proves, that it covers all the standard has it cover, and that no other helps or hurts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from lxml import etree

from hub.signatures import (
    REVOKED,
    STAMP_FUTURE,
    STAMP_OTHER,
    STAMP_UNREADABLE,
    STAMP_UNTRUSTED,
    UNTRUSTED,
    not_counted,
)
from tests.pki import NOW, YEAR, Party
from tests.unit.signatures.archiving import (
    HOLDER,
    THEN,
    archived,
    form,
    of,
    on_value,
    parsed,
    plainly,
    said,
    sealed,
    stream,
)
from tests.unit.signatures.stamping import (
    C14N,
    DAY,
    STAMPING,
    XADES,
    Stamper,
    Stamping,
    covered,
)
from tests.unit.signatures.test_signatures import DS, xml


def test_a_good_one_proves_its_time_and_the_verdict_says_whose_it_is(world: Stamping) -> None:
    one = of(world, sealed(world, xml(world)))
    assert one.problems == () and one.stamped_at == THEN.isoformat() and "Tests TSA" in (one.stamped_by or "")
    assert one.notes == (said(world, THEN),)
    assert "Tests TSA" in one.notes[0].vi and f"{THEN + timedelta(hours=7):%d/%m/%Y %H:%M:%S}" in one.notes[0].en


def test_a_signer_who_expired_or_was_revoked_after_it_signed_before(world: Stamping) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    assert of(world, xml(world, over)).problems == (UNTRUSTED,)
    assert of(world, sealed(world, xml(world, over))).problems == ()
    assert of(world, sealed(world, xml(world, over), NOW - DAY)).problems == (UNTRUSTED,)
    early, late = sealed(world, xml(world)), sealed(world, xml(world), NOW - 10 * DAY)
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    assert of(world, early).problems == () and of(world, late).problems == (REVOKED,)
    assert of(world, late).stamped_at == (NOW - 10 * DAY).isoformat(), "proved, and of no help"


def test_one_that_covers_a_stamp_on_the_value_stands_beside_it(world: Stamping) -> None:
    body = sealed(world, on_value(world, xml(world), THEN - DAY), THEN)
    one = of(world, body)
    assert one.problems == () and one.stamped_at == (THEN - DAY).isoformat() and one.notes == (said(world, THEN),)
    again = of(world, sealed(world, body, NOW - DAY))
    assert again.problems == () and again.stamped_at == (THEN - DAY).isoformat()
    assert again.notes == (said(world, THEN), said(world, NOW - DAY))


def test_one_made_after_the_signer_expired_accuses_nobody_who_stood_without_it(world: Stamping) -> None:
    over = Party("Đã hết hạn", world.authority, since=NOW - YEAR, until=NOW - 30 * DAY)
    with time_machine.travel(THEN):
        body = xml(world, over)
    assert of(world, body).problems == ()
    one = of(world, sealed(world, body, NOW - DAY))
    assert one.problems == () and one.stamped_at == (NOW - DAY).isoformat()


# ------------------------------------------------------------------------------------------------ those that do not hold


def _damaged(world: Stamping, body: bytes) -> bytes:
    token = Stamper(world.tsa, THEN).token(stream(body))
    return archived(body, token[:30] + bytes(len(token) - 30))


def _of_another(world: Stamping, body: bytes) -> bytes:
    return archived(body, Stamper(world.tsa, THEN).token(stream(xml(world))))


def _by_a_stranger(world: Stamping, body: bytes) -> bytes:
    return sealed(world, body, tsa=Party("Người lạ", None, purposes=STAMPING))


def _without(part: str) -> Callable[[Stamping, bytes], bytes]:
    def made(world: Stamping, body: bytes) -> bytes:
        root = parsed(body)
        left = form(root.find(f"{DS}Signature/{DS}{part}"), C14N)
        whole = stream(body)
        assert whole.count(left) == (2 if part == "KeyInfo" else 1), "signed as well, where it is the key's"
        at = whole.rindex(left)
        return archived(body, Stamper(world.tsa, THEN).token(whole[:at] + whole[at + len(left) :]))

    return made


BAD: dict[str, tuple[Callable[[Stamping, bytes], bytes], Any]] = {
    "damaged": (_damaged, STAMP_UNREADABLE),
    "of another signature": (_of_another, STAMP_OTHER),
    "by a stranger": (_by_a_stranger, STAMP_UNTRUSTED),
    "from the future": (lambda world, body: sealed(world, body, NOW + DAY), STAMP_FUTURE),
    "on the value alone": (
        lambda world, body: archived(body, Stamper(world.tsa, THEN).token(covered(parsed(body)))),
        STAMP_OTHER,
    ),
    "without what says the key": (_without("KeyInfo"), STAMP_OTHER),
    "without the value": (_without("SignatureValue"), STAMP_OTHER),
    "without what is signed": (_without("SignedInfo"), STAMP_OTHER),
    "by a weak hash": (
        lambda world, body: archived(body, Stamper(world.tsa, THEN).token(stream(body), "sha1")),
        STAMP_OTHER,
    ),
}


@pytest.mark.parametrize("which", BAD)
def test_one_that_does_not_hold_neither_helps_nor_hurts_and_is_said(world: Stamping, which: str) -> None:
    made, why = BAD[which]
    plain = xml(world)
    on = on_value(world, plain, NOW - DAY)
    for body in (plain, on):
        one = of(world, made(world, body))
        assert plainly(one) == plainly(of(world, body)) and one.problems == ()
        assert one.notes == (not_counted(why),)
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer, at=NOW - 30 * DAY))
    for body in (plain, on):
        assert of(world, made(world, body)).problems == (REVOKED,)


def test_one_beside_a_good_one_is_said_and_the_good_one_counts(world: Stamping) -> None:
    one = of(world, sealed(world, _damaged(world, xml(world)), NOW - DAY))
    assert one.problems == () and one.stamped_at == (NOW - DAY).isoformat()
    assert one.notes == (not_counted(STAMP_UNREADABLE), said(world, NOW - DAY))


def test_a_revoked_authoritys_proves_nothing(world: Stamping) -> None:
    body = sealed(world, xml(world))
    (world.folder / "tsa.crl").write_bytes(world.stamp_root.revoke(world.tsa, at=NOW - DAY))
    one = of(world, body)
    assert one.problems == () and one.stamped_at is None and one.notes == (not_counted(STAMP_UNTRUSTED),)


def test_a_signature_that_does_not_hold_is_not_helped(world: Stamping) -> None:
    good = sealed(world, xml(world))
    for old, new in ((b"8.5", b"9.5"), (b"</ds:SignatureValue>", b"AA</ds:SignatureValue>")):
        one = of(world, good.replace(old, new))
        assert one.problems and one.stamped_at is None and one.notes == ()


def test_a_co_signers_stamp_proves_nothing_for_another(world: Stamping) -> None:
    """Each signature stands for itself: what was archived of one is no proof of the other's time."""
    first = sealed(world, xml(world))
    second = parsed(xml(world, Party("Người ký thứ hai", world.authority)))
    second.find(f"{DS}Signature").find(f"{DS}Object/{XADES}QualifyingProperties").append(
        copy.deepcopy(parsed(first).find(f"{DS}Signature/{DS}Object/{XADES}QualifyingProperties/{XADES}UnsignedProperties"))
    )  # fmt: skip
    one = of(world, etree.tostring(second))
    assert one.problems == () and one.stamped_at is None and one.notes == (not_counted(STAMP_OTHER),)


# ------------------------------------------------------------------------------------------------ what it covers, and in which form


def test_what_was_added_before_is_covered_and_what_was_added_after_is_not(world: Stamping) -> None:
    body = on_value(world, xml(world), THEN - DAY)
    whole = sealed(world, body)
    after = parsed(whole)
    etree.SubElement(after.find(f"{DS}Signature/{HOLDER}"), f"{XADES}CertificateValues").text = "\n"
    assert of(world, etree.tostring(after)).notes == (said(world, THEN),)
    before = parsed(whole)
    before.find(f"{DS}Signature/{HOLDER}").insert(0, etree.Element(f"{XADES}CertificateValues"))
    one = of(world, etree.tostring(before))
    assert one.notes == (not_counted(STAMP_OTHER),) and one.stamped_at == (THEN - DAY).isoformat()
    # Made before the stamp on the value that stands before it now, or with it taken out.
    early = archived(body, Stamper(world.tsa, THEN).token(stream(body, upto=0)))
    taken = parsed(whole)
    held = taken.find(f"{DS}Signature/{HOLDER}")
    held.remove(held[0])
    for odd in (early, etree.tostring(taken)):
        assert of(world, odd).notes == (not_counted(STAMP_OTHER),)
    # Exchanged for another good one of the same value.
    other = parsed(on_value(world, xml(world), THEN - 2 * DAY)).find(f"{DS}Signature/{HOLDER}")[0]
    exchanged = parsed(whole)
    exchanged.find(f"{DS}Signature/{HOLDER}")[0][1].text = other[1].text
    assert not_counted(STAMP_OTHER) in of(world, etree.tostring(exchanged)).notes
