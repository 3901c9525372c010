"""HTTP Digest: the specification's own example, and a server that counts every answer it gets."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from connectors.auth.digest import Challenge, authorization, choose
from connectors.errors import CredentialsRefused
from tests.unit.connectors import login_server as kit

CALL, SECRET, Clock, Server, made, run = kit.CALL, kit.SECRET, kit.Clock, kit.Server, kit.made, kit.run


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616(algorithm: str, response: str) -> None:
    challenge = Challenge(
        realm="http-auth@example.org",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        algorithm=algorithm,
        session=False,
        qop=True,
        opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
        stale=False,
        userhash=False,
    )
    value = authorization(
        challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", 1,
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )  # fmt: skip
    assert f'response="{response}"' in value and "nc=00000001" in value and "Circle" not in value


def test_the_strongest_allowed_challenge_is_taken() -> None:
    both = 'Basic realm="b", Digest realm="a, b", nonce="n1", qop="auth,auth-int", algorithm=MD5, ' + (
        'Digest realm="a, b", nonce="n2", qop="auth", algorithm=SHA-256, opaque="x\\"y"'
    )
    best = choose(both, "MD5", None)
    assert best is not None and (best.algorithm, best.nonce, best.realm) == ("SHA-256", "n2", "a, b")
    assert best.opaque == 'x"y'
    md5 = 'Digest realm="a", nonce="n", algorithm=MD5'
    assert choose(md5, "SHA-256", None) is None and choose(md5, "MD5", "other") is None
    plain = choose(md5, "MD5", "a")
    assert plain is not None and not plain.qop
    assert choose('Digest realm="a", nonce="n", qop="auth-int"', "MD5", None) is None
    assert choose('Basic realm="a"', "MD5", None) is None


@given(st.text(max_size=80))
def test_any_challenge_whatever_is_read_or_left(text: str) -> None:
    for header in (text, "Digest " + text, 'Digest realm="a", nonce="n", ' + text):
        choose(header, "MD5", None)


class Camera:
    """A server that knows one user, gives nonces that live for `lives` answers, and counts wrong answers."""

    def __init__(self, password: str, lives: int = 100, algorithm: str = "SHA-256", qop: bool = True) -> None:
        self.password, self.lives, self.algorithm, self.qop = password, lives, algorithm, qop
        self.nonces: dict[str, int] = {}
        self.wrong = 0
        self.served = 0
        self.seen: set[tuple[str, str]] = set()

    def challenge(self, stale: bool = False) -> web.Response:
        nonce = f"nonce-{len(self.nonces)}"
        self.nonces[nonce] = 0
        qop = ', qop="auth"' if self.qop else ""
        more = ", stale=true" if stale else ""
        value = f'Digest realm="IP Camera", nonce="{nonce}", algorithm={self.algorithm}{qop}{more}'
        return web.Response(status=401, headers={"WWW-Authenticate": value})

    def __call__(self, headers: dict[str, str], body: bytes) -> web.Response:
        value = headers.get("authorization")
        if value is None:
            return self.challenge()
        said = {k: v.strip('"') for k, v in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', value)}
        h = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5}[self.algorithm.removesuffix("-sess")]

        def d(text: str) -> str:
            return h(text.encode()).hexdigest()

        first = d(f"so:IP Camera:{self.password}")
        if self.algorithm.endswith("-sess"):
            first = d(f"{first}:{said['nonce']}:{said['cnonce']}")
        second = d(f"POST:{said['uri']}")
        middle = f"{said['nc']}:{said['cnonce']}:auth:" if self.qop else ""
        if d(f"{first}:{said['nonce']}:{middle}{second}") != said["response"]:
            self.wrong += 1
            return self.challenge()
        if self.nonces.get(said["nonce"], self.lives) >= self.lives:
            return self.challenge(stale=True)
        if self.qop:
            assert (said["nonce"], said["nc"]) not in self.seen, "a count used twice"
            self.seen.add((said["nonce"], said["nc"]))
        assert said["uri"] == "/call"
        self.nonces[said["nonce"]] += 1
        self.served += 1
        return web.Response(text="ok")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "MD5-sess", "SHA-256-sess"])
def test_one_challenge_serves_many_calls_and_a_stale_nonce_is_renewed(algorithm: str) -> None:
    async def use(server: Any) -> None:
        camera = Camera(SECRET, lives=3, algorithm=algorithm)
        server.on_call = camera
        c = made(server, {"scheme": "digest", "username": "so"})
        for _ in range(8):
            assert (await c.send(CALL, 5)).status == 200
        assert camera.served == 8 and camera.wrong == 0
        assert len(server.calls) == 8 + 1 + 2  # the first challenge, and two stale nonces
        assert all(SECRET not in str(h) for h, _ in server.calls)
        await c.close()

    run(use)


def test_calls_at_a_time_never_use_a_count_twice() -> None:
    async def use(server: Any) -> None:
        camera = Camera(SECRET, lives=7)
        server.on_call = camera
        c = made(server, {"scheme": "digest", "username": "so"})
        replies = await asyncio.gather(*(c.send(CALL, 5) for _ in range(40)))
        # Under a nonce that lives for seven answers a crowd may meet a second stale one; such a 401 is an honest reply.
        assert {r.status for r in replies} <= {200, 401} and camera.wrong == 0
        assert camera.served == sum(r.status == 200 for r in replies) >= 20
        await c.close()

    run(use)


def test_wrong_credentials_are_tried_once_and_then_not_at_all_for_a_while() -> None:
    async def use(server: Any) -> None:
        camera, clock = Camera("another"), Clock()
        server.on_call = camera
        c = made(server, {"scheme": "digest", "username": "so"}, clock)
        assert (await c.send(CALL, 5)).status == 401
        for _ in range(5):
            with pytest.raises(CredentialsRefused):
                await c.send(CALL, 5)
        assert camera.wrong == 1
        clock.now += 61
        camera.password = SECRET
        assert (await c.send(CALL, 5)).status == 200
        await c.close()

    run(use)


def test_without_qop_and_for_the_live_test() -> None:
    async def use(server: Any) -> None:
        camera = Camera(SECRET, algorithm="MD5", qop=False)
        server.on_call = camera
        c = made(server, {"scheme": "digest", "username": "so"})
        assert (await c.send(CALL, 5)).status == 200 and (await c.send(CALL, 5)).status == 200
        assert (await c.probe(5)).ok
        await c.close()

    run(use)


def test_a_server_that_wants_basic_gets_nothing() -> None:
    async def use(server: Any) -> None:
        server.on_call = lambda h, b: web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        c = made(server, {"scheme": "digest", "username": "so"})
        assert (await c.send(CALL, 5)).status == 401
        assert len(server.calls) == 1 and "authorization" not in server.calls[0][0]
        await c.close()

    run(use)
