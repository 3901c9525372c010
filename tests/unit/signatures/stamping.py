"""Signed documents with time stamps, and an authority to stamp them, for the tests of what stamps prove."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import keys, pem, tsp, x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lxml import etree
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import SigSeedSubFilter
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from hub.kernel.documents import PDF, XML
from hub.signatures import Signature, Verdict, verify
from hub.signatures.trust import load
from tests.pki import NOW, Party, World
from tests.unit.signatures.test_signatures import DS, blank, xml

XADES = "{http://uri.etsi.org/01903/v1.3.2#}"
C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
C14N11 = "http://www.w3.org/2006/12/xml-c14n11"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
DAY = timedelta(days=1)
STAMPING = (ExtendedKeyUsageOID.TIME_STAMPING,)
Kind = Callable[..., tuple[bytes, str, bytes]]


class Stamping(World):
    """A world with a time-stamping authority below a root of its own, trusted too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stamp_root = Party("Tests TSA Root", authority=True)
        self.tsa = Party("Tests TSA", self.stamp_root, purposes=STAMPING)
        (folder / "tsa-root.crt").write_bytes(self.stamp_root.pem)


def cert(party: Party) -> Any:
    return x509.Certificate.load(pem.unarmor(party.pem)[2])


class Stamper(DummyTimeStamper):
    """Stamps at a time; `over` replaces the hash it stamps; `last` is the token it made."""

    def __init__(self, tsa: Party, at: datetime = NOW, over: bytes | None = None, accuracy: int = 0) -> None:
        key = keys.PrivateKeyInfo.load(pem.unarmor(tsa.key_pem)[2])
        super().__init__(cert(tsa), key, fixed_dt=at, include_nonce=False)
        self.over, self.accuracy, self.last = over, accuracy, b""

    def _build_tst_info(self, message_imprint: Any, dt: datetime, req: Any) -> Any:
        made = super()._build_tst_info(message_imprint, dt, req)
        if self.accuracy:
            made["accuracy"] = tsp.Accuracy({"seconds": self.accuracy})
        return made

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> Any:
        token = await super().async_timestamp(self.over or message_digest, md_algorithm)
        self.last = token.dump()
        return token

    def token(self, data: bytes, name: str = "sha256") -> bytes:
        asyncio.run(self.async_timestamp(hashlib.new(name, data).digest(), name))
        return self.last


def in_xml(world: World, stamper: Stamper, signer: Party | None = None) -> tuple[bytes, str, bytes]:
    """A signed document with a stamp, its kind, and the token as it stands in its bytes."""
    root = etree.fromstring(xml(world, signer))
    token = stamper.token(covered(root))
    return stamped(root, token), XML, base64.b64encode(token)


def covered(root: Any, exclusive: bool = False) -> bytes:
    return etree.tostring(root.find(f"{DS}Signature/{DS}SignatureValue"), method="c14n", exclusive=exclusive)


def stamped(root: Any, *tokens: bytes, method: str | None = C14N) -> bytes:
    properties = root.find(f"{DS}Signature/{DS}Object/{XADES}QualifyingProperties")
    unsigned = etree.SubElement(properties, f"{XADES}UnsignedProperties")
    holder = etree.SubElement(unsigned, f"{XADES}UnsignedSignatureProperties")
    for token in tokens:
        stamp = etree.SubElement(holder, f"{XADES}SignatureTimeStamp")
        if method is not None:
            etree.SubElement(stamp, f"{DS}CanonicalizationMethod", Algorithm=method)
        etree.SubElement(stamp, f"{XADES}EncapsulatedTimeStamp").text = base64.b64encode(token).decode()
    return bytes(etree.tostring(root))


def in_pdf(world: World, stamper: Stamper, signer: Party | None = None) -> tuple[bytes, str, bytes]:
    by = signer or world.signer
    store = SimpleCertificateStore()
    store.register(cert(world.authority))
    key = keys.PrivateKeyInfo.load(pem.unarmor(by.key_pem)[2])
    simple = signers.SimpleSigner(signing_cert=cert(by), signing_key=key, cert_registry=store)
    meta = signers.PdfSignatureMetadata(field_name="Ky1", subfilter=SigSeedSubFilter.PADES)
    out = io.BytesIO()
    writer = IncrementalPdfFileWriter(io.BytesIO(blank()))
    signers.sign_pdf(writer, meta, signer=simple, timestamper=stamper, output=out)
    body = out.getvalue()
    held = stamper.last.hex().upper().encode()
    assert body.count(held) == 1
    return body, PDF, held


def judged(world: World, body: bytes, kind: str, *_: Any) -> Signature:
    verdict: Verdict = asyncio.run(verify(body, kind, load(world.folder)))
    (one,) = verdict.signatures
    return one
