"""WS-Security on SOAP messages: an X.509 signature over body and timestamp, a UsernameToken, and answers' signatures.

One concern: the `wsse:Security` block, outward and inward. It must never show a key or password, and never take an
answer for signed of which anything but the envelope's own body was signed. Source: OASIS WS-Security 1.1.1, its X.509
and UsernameToken profiles; signatures by signxml with exclusive C14N.
"""

from __future__ import annotations

import base64
import hashlib
import secrets as random_source
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from lxml import etree
from signxml import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConfiguration,
    SignatureConstructionMethod,
    SignatureMethod,
    XMLSigner,
    XMLVerifier,
)

from connectors.auth.base import Clock
from connectors.errors import SettingError, SettingsInvalid
from connectors.transports.base import Request
from connectors.transports.soap_options import SIGNING_KEY, TOKEN_PASSWORD, WssSettings
from hub.kernel.ports import MaybeSent, NotSent, Reply, Text

_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = _OASIS + "wssecurity-secext-1.0.xsd"
WSU = _OASIS + "wssecurity-utility-1.0.xsd"
_X509 = _OASIS + "x509-token-profile-1.0#X509v3"
_BASE64 = _OASIS + "soap-message-security-1.0#Base64Binary"
_PASSWORD = _OASIS + "username-token-profile-1.0#Password"
_DS = "http://www.w3.org/2000/09/xmldsig#"
_SOAP = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
_ID = f"{{{WSU}}}Id"
_SKEW = timedelta(seconds=300)
"""How far the counterparty's clock may be off."""
_METHODS = frozenset(
    {SignatureMethod.RSA_SHA256, SignatureMethod.RSA_SHA384, SignatureMethod.RSA_SHA512, SignatureMethod.ECDSA_SHA256,
     SignatureMethod.ECDSA_SHA384, SignatureMethod.ECDSA_SHA512, SignatureMethod.SHA256_RSA_MGF1}
)  # fmt: skip
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


class Wss:
    """See `connectors.transports.layers.Layer`."""

    under: str | None = None

    def __init__(self, settings: WssSettings, secrets: Mapping[str, str], clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._password = secrets.get(TOKEN_PASSWORD.name, "")
        self._key: Any = None
        self._token = ""
        if settings.certificate_pem:
            self._key, self._token = _pair(settings.certificate_pem, secrets.get(SIGNING_KEY.name, ""))
        trusted = settings.answer_certificates_pem
        self._trusted = load_pem_x509_certificates(trusted.encode()) if trusted else []

    def __repr__(self) -> str:
        return f"Wss(username={self._settings.username!r}, signs={self._key is not None})"

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Put the security block in and sign. A request without a body (the live test's) is left as it is."""
        if not request.body:
            return
        memory["wss"] = True
        if self._key is None and not self._settings.username:
            return
        root, header, body = _opened(request.body)
        now = datetime.fromtimestamp(self._clock(), UTC)
        security = etree.SubElement(header, f"{{{WSSE}}}Security", nsmap={"wsse": WSSE, "wsu": WSU})
        security.set(f"{{{root.nsmap[root.prefix]}}}mustUnderstand", "1")
        stamp = _timestamp(security, now, self._settings.lives_s)
        if self._settings.username:
            self._username_token(security, now)
        if self._key is not None:
            self._sign(root, security, body, stamp)
        request.body = etree.tostring(root, xml_declaration=True, encoding="UTF-8")

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The reply, once its signature has been found good where answers must be signed."""
        if not self._trusted or "wss" not in memory:
            return reply
        try:
            root, _, body = _opened(reply.body, make_header=False)
        except NotSent as error:
            if reply.status >= 400:
                return reply  # no SOAP at all: something in front of the service; its status says what it is
            raise MaybeSent(f"the answer is not SOAP: {error}") from None
        self._verify(root, body)
        return reply

    def _username_token(self, security: Any, now: datetime) -> None:
        token = etree.SubElement(security, f"{{{WSSE}}}UsernameToken")
        token.set(_ID, "UT-" + uuid.uuid4().hex)
        etree.SubElement(token, f"{{{WSSE}}}Username").text = self._settings.username
        password = etree.SubElement(token, f"{{{WSSE}}}Password")
        nonce, created = random_source.token_bytes(16), _written(now)
        if self._settings.sent_as == "digest":
            password.set("Type", _PASSWORD + "Digest")
            # SHA-1 is what the profile prescribes here; it hides the password from a reader, no more is claimed of it.
            digest = hashlib.sha1(nonce + created.encode() + self._password.encode(), usedforsecurity=False).digest()
            password.text = base64.b64encode(digest).decode()
        else:
            password.set("Type", _PASSWORD + "Text")
            password.text = self._password
        element = etree.SubElement(token, f"{{{WSSE}}}Nonce")
        element.set("EncodingType", _BASE64)
        element.text = base64.b64encode(nonce).decode()
        etree.SubElement(token, f"{{{WSU}}}Created").text = created

    def _sign(self, root: Any, security: Any, body: Any, stamp: Any) -> None:
        token_id = "X509-" + uuid.uuid4().hex
        token = etree.Element(f"{{{WSSE}}}BinarySecurityToken", nsmap={"wsse": WSSE, "wsu": WSU})
        token.set(_ID, token_id)
        token.set("EncodingType", _BASE64)
        token.set("ValueType", _X509)
        token.text = self._token
        security.insert(0, token)
        if body.get(_ID) is None:
            body.set(_ID, "Body-" + uuid.uuid4().hex)
        info = etree.Element(f"{{{_DS}}}KeyInfo", nsmap={"ds": _DS})
        reference = etree.SubElement(info, f"{{{WSSE}}}SecurityTokenReference", nsmap={"wsse": WSSE})
        etree.SubElement(reference, f"{{{WSSE}}}Reference", URI="#" + token_id, ValueType=_X509)
        signer = XMLSigner(
            method=SignatureConstructionMethod.detached,
            signature_algorithm=(
                SignatureMethod.ECDSA_SHA256
                if isinstance(self._key, ec.EllipticCurvePrivateKey)
                else SignatureMethod.RSA_SHA256
            ),
            digest_algorithm=DigestAlgorithm.SHA256,
            c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        wanted = ["#" + body.get(_ID), "#" + stamp.get(_ID)]
        security.append(signer.sign(root, key=self._key, reference_uri=wanted, key_info=info, id_attribute="Id"))

    def _verify(self, root: Any, body: Any) -> None:
        """Raises `MaybeSent` unless the envelope's own body, and the timestamp if there is one, are signed by a trusted
        certificate and still valid."""
        envelope = root.tag.rpartition("}")[0] + "}"
        securities = root.findall(f"{envelope}Header/{{{WSSE}}}Security")
        if len(securities) != 1 or securities[0].find(f"{{{_DS}}}Signature") is None:
            raise MaybeSent("the answer is not signed")
        stamps = securities[0].findall(f"{{{WSU}}}Timestamp")
        wanted = [body, *stamps]
        ids = [e.get(_ID) for e in wanted]
        if None in ids or len(set(ids)) < len(ids) or len(stamps) > 1:
            raise MaybeSent("the answer's body or timestamp is not signed")
        expected = SignatureConfiguration(
            location=f"./{envelope}Header/{{{WSSE}}}Security/", expect_references=True, signature_methods=_METHODS
        )
        failure = "no certificate"
        for certificate in self._trusted:
            try:
                results = XMLVerifier().verify(root, x509_cert=certificate, id_attribute="Id", expect_config=expected)
            except Exception as error:  # the library lets errors of several others through; none may pass for good
                failure = type(error).__name__
                continue
            assert isinstance(results, list)
            # The library refuses an id that two elements bear, so these URIs name these very elements of this place.
            info = results[0].signature_xml.find(f"{{{_DS}}}SignedInfo") if results else None
            signed = set() if info is None else {r.get("URI") for r in info.findall(f"{{{_DS}}}Reference")}
            if any(f"#{id_}" not in signed for id_ in ids):
                raise MaybeSent("the answer's signature covers something else than its body and timestamp")
            return self._check_time(stamps)
        raise MaybeSent(f"the answer's signature is not one of the counterparty's ({failure})")

    def _check_time(self, stamps: list[Any]) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        for stamp in stamps:
            for name, sound in (("Created", lambda t: t <= now + _SKEW), ("Expires", lambda t: t >= now - _SKEW)):
                text = stamp.findtext(f"{{{WSU}}}{name}")
                try:
                    good = text is None or sound(datetime.fromisoformat(text.strip()).astimezone(UTC))
                except ValueError:
                    good = False
                if not good:
                    raise MaybeSent(f"the answer's timestamp is no longer valid ({name})")


def _pair(certificate_pem: str, key_pem: str) -> tuple[Any, str]:
    """The private key and the certificate in base64. Raises `SettingsInvalid` when they do not belong together."""
    try:
        key = load_pem_private_key(key_pem.encode(), password=None)
        certificate = load_pem_x509_certificates(certificate_pem.encode())[0]
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        sound = isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) and (
            key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
        )
    except (ValueError, TypeError):
        sound = False
    if not sound:
        message = Text(
            f"“{SIGNING_KEY.title.vi}” không đọc được, có mật khẩu, hoặc không đi với chứng thư",
            f"“{SIGNING_KEY.title.en}” is not readable, is encrypted, or does not belong to the certificate",
        )
        raise SettingsInvalid(
            [SettingError(pointer=f"/secrets/{SIGNING_KEY.name}", code="certificate", message=message)]
        )
    return key, base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def _opened(data: bytes, *, make_header: bool = True) -> tuple[Any, Any, Any]:
    """Envelope, header (made where there is none and one is wanted) and body. Raises `NotSent` for anything else."""
    try:
        root = etree.fromstring(data, _PARSER)
    except (etree.LxmlError, ValueError, LookupError):
        raise NotSent("not well-formed XML") from None
    if root.getroottree().docinfo.internalDTD is not None or root.tag not in {f"{{{s}}}Envelope" for s in _SOAP}:
        raise NotSent("not a SOAP envelope")
    space = root.tag.rpartition("}")[0] + "}"
    bodies, headers = root.findall(f"{space}Body"), root.findall(f"{space}Header")
    if len(bodies) != 1 or len(headers) > 1:
        raise NotSent("not one body and at most one header")
    header = headers[0] if headers else None
    if header is None and make_header:
        header = etree.Element(f"{space}Header", nsmap=None)
        root.insert(0, header)
    return root, header, bodies[0]


def _timestamp(security: Any, now: datetime, lives_s: int) -> Any:
    stamp = etree.SubElement(security, f"{{{WSU}}}Timestamp")
    stamp.set(_ID, "TS-" + uuid.uuid4().hex)
    etree.SubElement(stamp, f"{{{WSU}}}Created").text = _written(now)
    etree.SubElement(stamp, f"{{{WSU}}}Expires").text = _written(now + timedelta(seconds=lives_s))
    return stamp


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
