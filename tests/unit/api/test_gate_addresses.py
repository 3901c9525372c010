"""Whose address a request came to, and whose it did not."""

from __future__ import annotations

import pytest

from hub.api.gate_addresses import caller


@pytest.mark.parametrize(
    ("method", "path", "family", "secret", "rest"),
    [
        ("GET", "/iclock/cdata", "zkteco", None, "cdata"),
        ("POST", "/iclock/", "zkteco", None, ""),
        ("HEAD", "/gates/s3/iclock/getrequest", "zkteco", "s3", "getrequest"),
        ("POST", "/gates/s3/iclock/a/b", "zkteco", "s3", "a/b"),
        ("POST", "/gates/s3/hikvision", "hikvision", "s3", ""),
        ("POST", "/gates/s3/hanet", "hanet", "s3", ""),
        ("POST", "/gates/s3/face_http", "face_http", "s3", ""),
    ],
)
def test_an_address_tells_family_secret_and_what_is_below(
    method: str, path: str, family: str, secret: str | None, rest: str
) -> None:
    found = caller(method, path)
    assert found is not None
    assert (found.family.name, found.secret, found.rest) == (family, secret, rest)
    assert "s3" not in found.path, "what may be logged holds no secret"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/iclock/cdata"),
        ("GET", "/gates/s3/hikvision"),
        ("POST", "/gates/s3/hikvision/"),
        ("POST", "/gates/s3/hikvision/more"),
        ("POST", "/gates/s3/iclock"),
        ("POST", "/gates//hanet"),
        ("POST", "/gates/s3"),
        ("POST", "/gates/"),
        ("POST", "/gates/s3/dahua"),
    ],
)
def test_every_other_address_is_nobodys(method: str, path: str) -> None:
    assert caller(method, path) is None
