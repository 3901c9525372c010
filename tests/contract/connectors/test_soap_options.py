"""WS-Security and MTOM: what goes on the wire is verified by other means than made it; forged answers are refused."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import policy as email_policy
from email.parser import BytesParser
from functools import cache
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.errors import SettingsInvalid
from connectors.settings import validate
from connectors.transports.mtom import Broken, move_in
from connectors.transports.soap_options import AttachmentSettings
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply
from tests.contract.connectors import wire_server

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE, WSU = f"{{{OASIS}wssecurity-secext-1.0.xsd}}", f"{{{OASIS}wssecurity-utility-1.0.xsd}}"
BODY = (
    f'<?xml version="1.0"?><s:Envelope xmlns:s="{SOAP}" xmlns:k="urn:khong-dung"><s:Header><k:Truoc/></s:Header>'
    '<s:Body><d:Hoi xmlns:d="urn:d"> <Ten a="1">Ân &amp; <!-- x -->B</Ten>\n</d:Hoi></s:Body></s:Envelope>'
).encode()


@cache
def pair(kind: str = "rsa", name: str = "so-gddt") -> tuple[str, str]:
    """A certificate and its key, PEM, of a synthetic name."""
    key: Any = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    certificate = made.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), key.private_bytes(*form).decode()


def exchange(
    answer: Callable[[bytes, dict[str, str]], tuple[bytes, str]],
    body: bytes = BODY,
    secrets: Any = None,
    **transport: Any,
) -> tuple[Reply | Exception, list[tuple[dict[str, str], bytes]]]:
    """One call to a server that answers as told; the reply or error, and what the server got."""
    seen: list[tuple[dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        got = {k.lower(): v for k, v in request.headers.items()}, await request.read()
        seen.append(got)
        made, kind = answer(got[1], got[0])
        return web.Response(body=made, headers={"Content-Type": kind})

    async def use(port: int) -> Reply | Exception:
        kept = {"kind": "soap", "base_url": f"http://127.0.0.1:{port}", **transport}
        connector = build(
            validate({"name": "a", "system": "b", "transport": kept}), secrets or {}, AddressPolicy(["127.0.0.0/8"])
        )
        try:
            return await connector.send(
                Call(operation="o", deliveries=(1,), body=body, content_type="text/xml", idempotent=False), 5
            )
        except (NotSent, MaybeSent) as error:
            return error
        finally:
            await connector.close()

    return wire_server.with_app(handler, use), seen


def plain(_: bytes, __: dict[str, str]) -> tuple[bytes, str]:
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Body><a/></s:Body></s:Envelope>'.encode(), "text/xml"


# ------------------------------------------------------------------------------------------- WS-Security


def verify(data: bytes) -> None:
    """XML signature, checked by hand: exclusive C14N, SHA-256 digests, RSA or ECDSA, by the certificate in the message."""
    root = etree.fromstring(data)
    security = root.find(f"{{{SOAP}}}Header/{WSSE}Security")
    signature = security.find(f"{DS}Signature")
    info = signature.find(f"{DS}SignedInfo")

    def canonical(element: Any) -> bytes:
        return bytes(etree.tostring(element, method="c14n", exclusive=True, with_comments=False, with_tail=False))

    pointed = signature.find(f"{DS}KeyInfo/{WSSE}SecurityTokenReference/{WSSE}Reference").get("URI")[1:]
    token = security.find(f"{WSSE}BinarySecurityToken")
    assert token.get(f"{WSU}Id") == pointed
    certificate = x509.load_der_x509_certificate(base64.b64decode(token.text))
    value = base64.b64decode(signature.findtext(f"{DS}SignatureValue"))
    public: Any = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(value, canonical(info), padding.PKCS1v15(), hashes.SHA256())
    else:
        half = len(value) // 2
        der = encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
        public.verify(der, canonical(info), ec.ECDSA(hashes.SHA256()))
    signed = {}
    for reference in info.findall(f"{DS}Reference"):
        (element,) = root.xpath("//*[@*[local-name()='Id']=$i]", i=reference.get("URI")[1:])
        assert hashlib.sha256(canonical(element)).digest() == base64.b64decode(reference.findtext(f"{DS}DigestValue"))
        signed[element.tag] = element.getparent().tag
    assert signed == {f"{{{SOAP}}}Body": f"{{{SOAP}}}Envelope", f"{WSU}Timestamp": f"{WSSE}Security"}


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_body_and_timestamp_are_signed_so_that_others_can_verify_it(kind: str) -> None:
    certificate, key = pair(kind)
    got, seen = exchange(plain, secrets={"wss_key": key}, security={"certificate_pem": certificate})
    assert isinstance(got, Reply), got
    data = seen[0][1]
    verify(data)
    root = etree.fromstring(data)
    assert root.find(f"{{{SOAP}}}Header/{{urn:khong-dung}}Truoc") is not None
    assert root.find(f"{{{SOAP}}}Header/{WSSE}Security").get(f"{{{SOAP}}}mustUnderstand") == "1"
    stamp = root.find(f".//{WSU}Timestamp")
    ends = datetime.fromisoformat(stamp.findtext(f"{WSU}Expires"))
    assert (
        timedelta(seconds=299)
        < ends - datetime.fromisoformat(stamp.findtext(f"{WSU}Created"))
        <= timedelta(seconds=300)
    )
    with pytest.raises(Exception):  # noqa: B017 (an assertion or the library's own)
        verify(data.replace(b'a="1"', b'a="2"'))


@pytest.mark.parametrize("form", ["digest", "text"])
def test_a_username_token(form: str) -> None:
    security = {"username": "so-gddt", "sent_as": form}
    got, seen = exchange(plain, secrets={"wss_password": "mat-khau-kin"}, security=security)
    assert isinstance(got, Reply)
    token = etree.fromstring(seen[0][1]).find(f".//{WSSE}UsernameToken")
    assert token.findtext(f"{WSSE}Username") == "so-gddt"
    password = token.findtext(f"{WSSE}Password")
    if form == "text":
        assert password == "mat-khau-kin"
    else:
        nonce = base64.b64decode(token.findtext(f"{WSSE}Nonce"))
        raw = nonce + token.findtext(f"{WSU}Created").encode() + b"mat-khau-kin"
        assert base64.b64decode(password) == hashlib.sha1(raw).digest() and b"mat-khau-kin" not in seen[0][1]


def signed_answer(change: Callable[[bytes], bytes] = lambda b: b, name: str = "doi-tac", old_s: float = 0) -> Any:
    """An answer signed by a counterparty (with the transport's own hand, whose output is verified above)."""
    from connectors.transports.base import Request
    from connectors.transports.soap_options import WssSettings
    from connectors.transports.wss import Wss

    certificate, key = pair("rsa", name)
    layer = Wss(
        WssSettings(certificate_pem=certificate), {"wss_key": key}, lambda: datetime.now(UTC).timestamp() - old_s
    )
    text = f'<s:Envelope xmlns:s="{SOAP}"><s:Body><Tra><Diem>8</Diem></Tra></s:Body></s:Envelope>'
    made = Request(method="POST", url="http://x", body=text.encode())
    layer.wrap(made, {})
    return lambda _, __: (change(made.body), "text/xml")


def trusting(answer: Any, *names: str) -> Reply | Exception:
    pems = "".join(pair("rsa", n)[0] for n in names or ("doi-tac",))
    return exchange(answer, security={"answer_certificates_pem": pems})[0]


def test_a_signed_answer_is_taken_also_during_a_change_of_certificates() -> None:
    got = trusting(signed_answer())
    assert isinstance(got, Reply) and b"<Diem>8</Diem>" in got.body
    assert isinstance(trusting(signed_answer(), "moi", "doi-tac"), Reply)


def wrapped(data: bytes) -> bytes:
    """The classic forgery: the signed body moved aside, another in its place."""
    root = etree.fromstring(data)
    body = root.find(f"{{{SOAP}}}Body")
    forged = etree.fromstring(etree.tostring(body, with_tail=False).replace(b">8<", b">10<"))
    del forged.attrib[f"{WSU}Id"]
    root.replace(body, forged)
    aside = etree.SubElement(root.find(f"{{{SOAP}}}Header"), "aside")
    aside.append(body)
    return bytes(etree.tostring(root))


def wrapped_with_id(data: bytes) -> bytes:
    root = etree.fromstring(wrapped(data))
    old = root.find(f"{{{SOAP}}}Header/aside/{{{SOAP}}}Body")
    root.find(f"{{{SOAP}}}Body").set(f"{WSU}Id", old.get(f"{WSU}Id"))
    return bytes(etree.tostring(root))


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.replace(b">8<", b">9<"),
        wrapped,
        wrapped_with_id,
        lambda b: b.replace(b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
        lambda b: b[: b.index(b"<wsse:Security")] + b[b.index(b"</wsse:Security>") + 16 :],
        lambda b: plain(b"", {})[0],
        lambda b: b"<html/>",
        lambda b: b[:-20],
    ],
)
def test_an_answer_altered_in_any_way_is_in_doubt(change: Callable[[bytes], bytes]) -> None:
    got = trusting(signed_answer(change))
    assert isinstance(got, MaybeSent), got


def test_anothers_signature_and_an_old_one_are_in_doubt() -> None:
    assert isinstance(trusting(signed_answer(name="ke-gia")), MaybeSent)
    got = trusting(signed_answer(old_s=3600))
    assert isinstance(got, MaybeSent) and "timestamp" in str(got)


def test_keys_are_checked_when_the_connector_is_built_and_never_shown() -> None:
    certificate, key = pair()
    for secrets in ({}, {"wss_key": pair("rsa", "khac")[1]}, {"wss_key": "khong-phai-khoa"}):
        with pytest.raises(SettingsInvalid) as invalid:
            exchange(plain, secrets=secrets, security={"certificate_pem": certificate})
        assert invalid.value.errors[0].pointer == "/secrets/wss_key"
        assert "khong-phai" not in str(invalid.value)
    with pytest.raises(SettingsInvalid):
        exchange(plain, security={"certificate_pem": certificate + key})


# -------------------------------------------------------------------------------------------------- MTOM

FILE = bytes(range(256)) * 40
ATTACHED = (
    f'<s:Envelope xmlns:s="{SOAP}"><s:Body><d:Gui xmlns:d="urn:d"><Ten>a</Ten><d:NoiDung>'
    f"{base64.b64encode(FILE).decode()}</d:NoiDung><d:NoiDung>bmhv</d:NoiDung></d:Gui></s:Body></s:Envelope>"
).encode()
MTOM = {"form": "mtom", "elements": ["{urn:d}NoiDung"], "from_bytes": 1000}


def echo(data: bytes, headers: dict[str, str]) -> tuple[bytes, str]:
    return data, headers["content-type"]


def test_content_goes_out_beside_the_message_and_comes_back_into_it() -> None:
    got, seen = exchange(echo, body=ATTACHED, attachments=MTOM)
    assert isinstance(got, Reply) and got.body == ATTACHED and got.headers["content-type"].startswith("text/xml")
    headers, data = seen[0]
    assert len(data) < len(ATTACHED)
    whole = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n" + data
    message = BytesParser(policy=email_policy.HTTP).parsebytes(whole)
    root, part = message.iter_parts()  # the standard library reads it too
    assert root.get_content_type() == "application/xop+xml" and root["content-transfer-encoding"] == "8bit"
    assert part.get_payload(decode=True) == FILE
    assert message.get_param("start") == root["content-id"] and message.get_param("start-info") == "text/xml"
    include = etree.fromstring(root.get_payload(decode=True)).find(".//{http://www.w3.org/2004/08/xop/include}Include")
    assert include.get("href") == "cid:" + part["content-id"].strip("<>")
    assert headers["soapaction"] == '""'


def test_small_or_odd_content_stays_and_large_content_is_refused_before_sending() -> None:
    small = ATTACHED.replace(base64.b64encode(FILE), b"bmhv")
    assert exchange(echo, body=small, attachments=MTOM)[1][0][1] == small
    odd = ATTACHED.replace(base64.b64encode(FILE), b"<k/>khong phai base64" * 500)
    assert exchange(echo, body=odd, attachments=MTOM)[1][0][1] == odd
    got, seen = exchange(echo, body=ATTACHED, attachments={**MTOM, "max_bytes": 2000})
    assert isinstance(got, NotSent) and not seen


def multipart(root: bytes, *parts: tuple[str, bytes, str]) -> tuple[bytes, str]:
    pieces = [b'--b\r\nContent-Type: application/xop+xml; type="text/xml"\r\nContent-ID: <r>\r\n\r\n' + root]
    for name, content, encoding in parts:
        head = f"--b\r\nContent-ID: <{name}>\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        pieces.append(head.encode() + content)
    return b"\r\n".join(
        [*pieces, b"--b--\r\n"]
    ), 'multipart/related; boundary=b; start="<r>"; type="application/xop+xml"'


XOP = '<i:Include xmlns:i="http://www.w3.org/2004/08/xop/include" href="cid:%s"/>'


def test_answers_with_parts_in_other_encodings() -> None:
    root = f"<a><b>{XOP % 'p%401'}</b><c>{XOP % 'p2'}</c></a>".encode()
    answer = multipart(root, ("p@1", base64.b64encode(b"mot"), "base64"), ("p2", b"hai\r\n--x", "binary"))
    got, _ = exchange(lambda _, __: answer, body=ATTACHED, attachments=MTOM)
    assert isinstance(got, Reply)
    first, second = base64.b64encode(b"mot"), base64.b64encode(b"hai\r\n--x")
    assert got.body == b"<a><b>" + first + b"</b><c>" + second + b"</c></a>"


@pytest.mark.parametrize(
    "answer",
    [
        multipart(f"<a>{XOP % 'p'}</a>".encode()),  # names a part that is not there
        multipart(f"<a>{XOP % 'p'}{XOP % 'p'}</a>".encode(), ("p", b"x" * 9, "binary")),  # twice: how bombs are made
        multipart(b"<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"),
        multipart(b"<a/>", ("p", b"x" * 30_000, "binary")),
        multipart(b"<a/>", *((f"p{n}", b"x", "binary") for n in range(60))),
        (multipart(b"<a/>")[0][:-6], multipart(b"<a/>")[1]),
        (b"", "multipart/related; boundary=b"),
        (b"--b--", "multipart/related"),
    ],
)
def test_answers_that_cannot_be_put_together_are_in_doubt(answer: tuple[bytes, str]) -> None:
    got, _ = exchange(lambda _, __: answer, body=ATTACHED, attachments={**MTOM, "max_bytes": 20_000})
    assert isinstance(got, MaybeSent), got


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200), st.sampled_from(["", "b", '"b c"', "\x00"]), st.booleans())
def test_any_multipart_whatever_is_read_or_refused(data: bytes, boundary: str, shaped: bool) -> None:
    body = b"--b\r\n\r\n" + data + b"\r\n--b--" if shaped else data
    try:
        move_in(body, f"multipart/related; boundary={boundary}", AttachmentSettings(form="mtom", elements=["a"]))
    except Broken:
        return


def test_signed_and_with_attachments_the_signature_covers_the_content() -> None:
    """Order of the layers: the signature is made over the message with its content inside, then the content moves out."""
    certificate, key = pair()
    got, seen = exchange(
        plain, body=ATTACHED, secrets={"wss_key": key}, security={"certificate_pem": certificate}, attachments=MTOM
    )
    assert isinstance(got, Reply)
    headers, data = seen[0]
    whole, _ = move_in(data, headers["content-type"], AttachmentSettings(**MTOM))
    verify(whole)


def test_nothing_of_it_is_loaded_by_a_connector_that_needs_none() -> None:
    code = (
        "import sys; from connectors.connector import build; from connectors.settings import validate;"
        "from connectors.address import AddressPolicy;"
        "build(validate({'name':'a','system':'b','transport':{'kind':'soap','base_url':'http://x.vn'}}),{},AddressPolicy());"
        "print([m for m in ('signxml','lxml','paramiko','standardwebhooks') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
