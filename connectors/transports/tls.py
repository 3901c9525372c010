"""Who a counterparty must prove to be, and who the hub proves to be: TLS contexts from settings and a secret.

One concern: making an `ssl.SSLContext`. It must never turn verification off, nor leave a private key in a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import tempfile
from collections.abc import Callable, Iterator

from pydantic import field_validator

from connectors.declare import Declared, Secret, setting, wrong
from hub.kernel.ports import Text

KEY = Secret(
    name="tls_key",
    title=Text("Khóa riêng của chứng thư (PEM)", "Private key of the certificate (PEM)"),
    required=False,
    lines=True,
)
"""The secret beside `TlsSettings.certificate_pem`; asked for only where a certificate is set."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.S)
_WIDTH = 64


class TlsSettings(Declared):
    """TLS of one connector. Empty: the system's authorities, and no certificate of the hub's own."""

    ABOUT = Text("TLS", "TLS")
    ca_pem: str | None = setting(
        "Chứng thư gốc (PEM)",
        "Authority certificate (PEM)",
        default=None,
        example="-----BEGIN CERTIFICATE----- …",
        lines=True,
        help=Text("Thay cho danh sách của hệ thống", "Replaces the system's authorities"),
    )
    certificate_pem: str | None = setting(
        "Chứng thư của trục (PEM)",
        "The hub's certificate (PEM)",
        default=None,
        example="-----BEGIN CERTIFICATE----- …",
        lines=True,
        help=Text(
            "Cho mTLS: chứng thư rồi đến các chứng thư trung gian; khóa riêng nằm ở phần bí mật",
            "For mTLS: the certificate, then those between; its private key is a secret",
        ),
    )

    _authority = field_validator("ca_pem")(lambda value: certificates(value, tls_context))
    _own = field_validator("certificate_pem")(lambda value: certificates(value, tls_context))


def certificates(value: str | None, load: Callable[[str], object]) -> str | None:
    """A setting that holds PEM certificates `load` can read, and nothing else: a private key among them would be stored in
    clear. Raises a setting's error; gives None for an empty text."""
    if value:
        try:
            if "PRIVATE KEY" in value or any(kind != "CERTIFICATE" for kind, _ in _BLOCK.findall(value)):
                raise ValueError
            load(value)
        except (ValueError, TypeError):  # TypeError: what the library says to letters beyond ASCII
            raise wrong(
                "certificate",
                "không phải chứng thư PEM, hoặc kèm cả khóa riêng",
                "is not a PEM certificate, or holds a private key as well",
            ) from None
    return value or None


def tls_context(ca_pem: str | None, certificate_pem: str | None = None, key_pem: str | None = None) -> ssl.SSLContext:
    """Verifying context, TLS 1.2 or later; `ca_pem` replaces the system's authorities, a certificate with its key is
    shown to a counterparty that asks. Raises `ValueError` for what is not PEM or does not belong together."""
    try:
        context = ssl.create_default_context(cadata=_lines(ca_pem) if ca_pem else None)
    except ssl.SSLError as error:
        raise ValueError("the CA certificate is not readable PEM") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_pem:
        if not key_pem:
            raise ValueError("a certificate without its private key")
        try:
            with _as_file((_lines(certificate_pem) + _lines(key_pem)).encode()) as path:
                # An empty password: an encrypted key is an error here, never a question on a terminal.
                context.load_cert_chain(path, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise ValueError("the certificate and its private key are not readable, or not a pair") from error
    return context


def _lines(pem: str) -> str:
    """PEM with its line ends: a form's field for secrets has one line, and what is pasted into it loses them."""
    blocks = []
    for kind, inside in _BLOCK.findall(pem):
        packed = "".join(inside.split())
        rows = [packed[n : n + _WIDTH] for n in range(0, len(packed), _WIDTH)]
        blocks.append("\n".join((f"-----BEGIN {kind}-----", *rows, f"-----END {kind}-----", "")))
    return "".join(blocks) or pem


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path to bytes that are in memory only: the library reads keys from paths. A private file where there is no such thing."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("chain")
        try:
            os.write(handle, data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
