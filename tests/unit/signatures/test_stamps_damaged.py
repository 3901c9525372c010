"""Damaged time stamps: none of them proves a thing, and no damage helps a signature that does not hold."""

from __future__ import annotations

import base64
import copy
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.kernel.documents import PDF, XML
from hub.signatures import REVOKED, UNREADABLE
from tests.pki import NOW, Party, World
from tests.unit.signatures.stamping import DAY, STAMPING, Stamper, Stamping, in_pdf, in_xml, judged


@pytest.fixture(scope="module")
def spoiled(
    stamping: Stamping, tmp_path_factory: pytest.TempPathFactory
) -> tuple[World, list[tuple[bytes, str, bytes]]]:
    """Documents of a signer who was revoked: stamped after that, of another signature, and by a stranger before it."""
    world = copy.copy(stamping)
    world.folder = Path(shutil.copytree(stamping.folder, tmp_path_factory.mktemp("damage") / "trust"))
    documents = [
        made(world, stamper)
        for made in (in_xml, in_pdf)
        for stamper in (
            Stamper(world.tsa, NOW - DAY),
            Stamper(world.tsa, NOW - 60 * DAY, over=bytes(32)),
            Stamper(Party("Người lạ", None, purposes=STAMPING), NOW - 60 * DAY),
        )
    ]
    (world.folder / "ca.crl").write_bytes(world.authority.revoke(world.signer))
    return world, documents


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 5), at=st.floats(0, 1), by=st.binary(min_size=1, max_size=12), cut=st.booleans())
def test_no_damage_to_a_stamp_makes_a_bad_signature_good(
    spoiled: tuple[World, list[tuple[bytes, str, bytes]]], which: int, at: float, by: bytes, cut: bool
) -> None:
    world, documents = spoiled
    body, kind, held = documents[which]
    token = bytearray(base64.b64decode(held) if kind == XML else bytes.fromhex(held.decode()))
    place = int(at * (len(token) - 1))
    if cut:
        token[place:] = bytes(len(token) - place) if kind == PDF else b""
    else:
        for i, flip in enumerate(by[: len(token) - place]):
            token[place + i] ^= flip
    changed = base64.b64encode(token) if kind == XML else token.hex().upper().encode()
    one = judged(world, body.replace(held, changed), kind)
    assert REVOKED in one.problems or UNREADABLE in one.problems, one


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1), flip=st.integers(1, 255), made=st.sampled_from([0, 1]))
def test_a_damaged_stamp_never_proves_another_time(
    proved: tuple[World, list[tuple[bytes, str, bytes]]], at: float, flip: int, made: int
) -> None:
    world, documents = proved
    body, kind, held = documents[made]
    token = bytearray(base64.b64decode(held) if kind == XML else bytes.fromhex(held.decode()))
    token[int(at * (len(token) - 1))] ^= flip
    changed = base64.b64encode(token) if kind == XML else token.hex().upper().encode()
    assert judged(world, body.replace(held, changed), kind).stamped_at in (None, (NOW - 60 * DAY).isoformat())


@pytest.fixture(scope="module")
def proved(stamping: Stamping) -> tuple[World, list[tuple[bytes, str, bytes]]]:
    return stamping, [made(stamping, Stamper(stamping.tsa, NOW - 60 * DAY)) for made in (in_xml, in_pdf)]
