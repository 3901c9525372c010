"""Documents by their bytes, and the tokens that hand them out."""

from __future__ import annotations

import io
import uuid
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.documents import DOCX, PDF, XML, kind_of
from hub.kernel.file_tokens import Grant, grant_of, token_of

KEY = b"k" * 32
PDF_BODY = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"


def office(**more: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as z:
        z.writestr("[Content_Types].xml", b"<Types/>")
        z.writestr("word/document.xml", b"<w:document/>")
        for name, data in more.items():
            z.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return out.getvalue()


def test_documents_are_told_by_their_bytes() -> None:
    assert kind_of(PDF_BODY) == PDF
    assert kind_of('\ufeff<?xml version="1.0"?><don/>'.encode()) == XML
    assert kind_of(office()) == DOCX


@pytest.mark.parametrize(
    "body",
    [
        b"", b"plain text", b"\xff\xd8\xff\xe0" + b"x" * 100, b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%PDF-1.7 nothing behind it",
        b"%PDF-" + b"\xff\xd8\xff" * 50 + b"%%EOF", b"<html><img></html>", b"<svg/>", b"<!DOCTYPE x><x/>",
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', b"<a>\x00</a>", b"PK\x03\x04 broken",
        office(word__media__image1_dot_jpeg=b"x"), office(word__vbaProject_dot_bin=b"x"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_refused(body: bytes) -> None:
    assert kind_of(body) is None


def test_a_bomb_and_a_plain_archive_are_refused() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("[Content_Types].xml", b"")
        z.writestr("word/document.xml", b"0" * 5_000_000)
    assert kind_of(out.getvalue()) is None
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as z:
        z.writestr("a.txt", b"x")
    assert kind_of(plain.getvalue()) is None


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    for head in (b"", b"PK\x03\x04", b"%PDF-", b"<"):
        kind_of(head + body)


@given(st.uuids(), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_a_token_grants_what_it_says_and_nothing_when_touched(file: uuid.UUID, connector: int, until: int) -> None:
    token = token_of(KEY, file, connector, until)
    assert grant_of(KEY, token) == Grant(file, connector, until)
    assert grant_of(b"x" * 32, token) is None
    for place in (0, 20, len(token) - 2):
        other = "A" if token[place] != "A" else "B"
        assert grant_of(KEY, token[:place] + other + token[place + 1 :]) is None


@given(st.text(max_size=120))
def test_no_text_is_a_token(text: str) -> None:
    assert grant_of(KEY, text) is None
