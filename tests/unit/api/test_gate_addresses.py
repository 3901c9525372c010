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
    found = caller(path)
    assert found is not None and method in found.says and "PUT" not in found.says
    assert (found.family.name, found.secret, found.rest) == (family, secret, rest)
    assert "s3" not in found.path, "what may be logged holds no secret"


@pytest.mark.parametrize(
    "path",
    [
        "/gates/s3/hikvision/",
        "/gates/s3/hikvision/more",
        "/gates/s3/iclock",
        "/gates//hanet",
        "/gates/s3",
        "/gates/",
        "/gates/s3/dahua",
    ],
)
def test_every_other_address_is_nobodys(path: str) -> None:
    assert caller(path) is None


@pytest.mark.parametrize("path", ["/gates/s3/hikvision", "/gates/s3/hanet", "/gates/s3/face_http"])
def test_what_only_posts_is_asked_for_nothing(path: str) -> None:
    found = caller(path)
    assert found is not None and found.says == {"POST"}
