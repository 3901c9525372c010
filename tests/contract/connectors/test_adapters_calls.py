"""Every call an adapter makes means the same by each HTTP way in its manifest declares: path, parameters, method, body."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest

from adapters import manifest as manifests
from connectors.address import AddressPolicy
from connectors.connector import build
from connectors.settings import validate
from hub.kernel.ports import Call, Outgoing

BASE = "http://tram.example.vn/goc"
CLIENT = {"member_class": "GOV", "member_code": "000.00.00.H24", "subsystem": "so-gddt"}
SERVICE = {"member_class": "GOV", "member_code": "000.00.00.G04", "subsystem": "csdl nganh", "service": "v1"}
FORWARD = {"dstcode": "VN:GOV:000.00.00.G04:csdl", "providerurl": "http://10.0.0.1:8083/a?b=1"}
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "rest": ({}, BASE),
    "xroad_rest": ({"client": CLIENT, "service": SERVICE}, f"{BASE}/r1/VN/GOV/000.00.00.G04/csdl%20nganh/v1"),
    "xrd_forward": (
        {"dstcode": FORWARD["dstcode"], "provider_url": FORWARD["providerurl"]},
        f"{BASE}/XrdAdapter/RestService/forward",
    ),
}
SETTINGS = {"ministry": {"province_code": "31", "source": "SO"}, "public_service": {"agency": "000.00.12.H24"}}
AT = datetime(2026, 11, 20, tzinfo=UTC)


def calls(system: str) -> list[Call]:
    """What is sent, asked about and listed, under a key with everything an address gives a meaning to."""
    adapter: Any = manifests.load(system).build(SETTINGS[system], None)
    kind, key = (
        ("learner", "TAM-7@31HP/6 A+1&x=ế%") if system == "ministry" else ("filing", "000.00.12.H24-261122-0001")
    )
    one = Outgoing(
        delivery=1, record=1, type=kind, key=key, event="NEW", version=1, updated_at=AT, school=None, body={}, mapped={}
    )
    (sent,) = adapter.render([one])
    what = "holds:learner" if system == "ministry" else adapter.pulls[0]
    made = [sent, adapter.inquire(1, sent), adapter.pull(what, None, AT)]
    return made + ([adapter.pull(what, key, AT)] if system == "ministry" else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("system", SETTINGS)
def test_a_call_arrives_the_same_by_every_way(system: str, way: str) -> None:
    assert set(manifests.load(system).transports) == set(WAYS)
    for call in calls(system):
        plain, other = (_asked(way_, call) for way_ in ("rest", way))
        assert (other.method, other.body) == (plain.method, plain.body)
        assert {n: v for n, v in plain.headers.items() if n != "Accept"}.items() <= other.headers.items()
        path, _, query = plain.url.removeprefix(BASE).partition("?")
        start = WAYS[way][1]
        assert other.url.startswith(start), other.url
        its_path, _, its_query = other.url.removeprefix(start).partition("?")
        assert its_path == path and _parts(path) == _parts(call.path)
        added = FORWARD.items() if way == "xrd_forward" else ()
        assert parse_qsl(its_query, strict_parsing=bool(its_query)) == [*parse_qsl(query), *added]


def _parts(path: str) -> list[str]:
    """What a path's parts say, however each letter is written."""
    return [unquote(p) for p in path.partition("?")[0].split("/")]


def _asked(way: str, call: Call) -> Any:
    transport = {"kind": way, "base_url": BASE, **WAYS[way][0]}
    c = build(validate({"name": "a", "system": "b", "transport": transport}), {}, AddressPolicy([]))
    return c._transport.request(call)
