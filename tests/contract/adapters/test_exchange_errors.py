"""An exchange's error read by an adapter, and by the connector's layer: never more certain here than there.

Both go by one file of codes; how they read them is written down twice, for neither may import the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from adapters import exchange
from adapters.kit import http_outcome
from adapters.manifest import load
from adapters.samples import samples
from connectors.errors import ServiceRefused
from connectors.transports import xroad_faults
from connectors.transports.xroad_faults import judge
from hub.kernel.ports import Call, MaybeSent, NeedsPerson, NotSent, Outcome, Reply, TryLater, Unknown

ROOT = Path(__file__).parents[3]
PROFILE: dict[str, Any] = yaml.safe_load((ROOT / "connectors" / "transports" / "xroad.yaml").read_text("utf-8"))
CALL = Call(operation="o", deliveries=(1,), body=b"", content_type="", idempotent=False)
DOUBTFUL = [
    "IOError", "HttpError", "NetworkError", "InternalError", "InvalidResponse", "InconsistentResponse", "InvalidSoap", "InvalidXml",
    "InvalidContentType", "MimeParsingFailed", "MissingBody", "MissingSignature", "InvalidSignatureValue", "CertValidation",
    "LoggingFailed", "Timestamping", "OfTomorrow",
]  # fmt: skip
"""What a security server also says after it passed a request on, and what nobody has named yet."""
HARMLESS: list[str] = PROFILE["client_proxy_before_delivery"]
UNCONNECTED: str = PROFILE["connect_failed_messages"][0]


def read(code: str, message: str = "", status: int = 500) -> Outcome:
    body = orjson.dumps({"type": code, "message": message, "detail": ""})
    found = http_outcome(CALL, Reply(status=status, body=body, headers={"x-road-error": code}), "anyone")
    assert found is not None
    return found


def spellings(code: str) -> list[str]:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in code).lstrip("_")
    return [f"Server.ClientProxy.{code}", f"server.clientproxy.{code.lower()}", f"SERVER.client_proxy.{snake}"]


@pytest.mark.parametrize("code", DOUBTFUL)
def test_what_may_follow_delivery_is_in_doubt_here_as_there(code: str) -> None:
    for spelt in spellings(code):
        assert isinstance(read(spelt), Unknown), spelt
        assert isinstance(judge(spelt, ""), MaybeSent), spelt


@pytest.mark.parametrize("code", HARMLESS)
def test_what_is_harmless_here_is_so_there(code: str) -> None:
    for spelt in spellings(code):
        assert isinstance(read(spelt), TryLater), spelt
        assert isinstance(judge(spelt, ""), NotSent), spelt


def test_layer_and_adapters_go_by_the_same_codes() -> None:
    ours, layers = exchange.profile(), xroad_faults.profile()
    for what in ("client_proxy_before_delivery", "connect_failed_messages", "server_proxy_refusals"):
        assert getattr(ours, what) == getattr(layers, what) and PROFILE[what], what
    assert not set(HARMLESS) & set(DOUBTFUL)


def test_a_code_nobody_listed_is_in_doubt() -> None:
    for code in (
        "Server.ClientProxy",
        "Server.ClientProxy.",
        "Server.ClientProxy.OfTomorrow",
        "Server.Other.X",
        "",
        "?",
    ):
        assert isinstance(read(code), Unknown), code


@pytest.mark.parametrize("status", [200, 400, 404, 500, 503])
def test_the_status_of_an_error_of_the_exchange_proves_nothing(status: int) -> None:
    assert isinstance(read("Server.ClientProxy.IOError", status=status), Unknown)
    assert isinstance(read("of the exchange's own", status=status), Unknown)


def test_no_connection_is_not_sent_and_a_refusal_is_a_persons() -> None:
    assert isinstance(read("Server.ClientProxy.NetworkError", UNCONNECTED.title()), TryLater)
    for code in ("Client.UnknownMember", "client.sslauthenticationfailed", "Server.ServerProxy.AccessDenied"):
        told = read(code)
        assert isinstance(told, NeedsPerson) and told.scope == "connector", code
    assert isinstance(read("Server.ServerProxy.ServiceFailed"), Unknown)


PARTS = st.sampled_from(["Server", "client", "ClientProxy", "client_proxy", "ServerProxy", *DOUBTFUL, *HARMLESS])
REFUSING = st.sampled_from(PROFILE["server_proxy_refusals"])
MESSAGES = st.sampled_from(["", UNCONNECTED, f"… {UNCONNECTED.upper()} ([https://10.0.0.5:5500/])"]) | st.text(
    max_size=20
)
CODES = st.lists(PARTS | REFUSING, max_size=4).map(".".join) | st.text(max_size=30)


@given(code=CODES, message=MESSAGES, status=st.sampled_from([200, 400, 500, 503]))
def test_never_more_certain_than_the_layer(code: str, message: str, status: int) -> None:
    here, there = read(code, message, status), judge(code, message)
    if isinstance(there, MaybeSent) or there is None:
        assert isinstance(here, Unknown)
    elif isinstance(there, ServiceRefused):
        assert isinstance(here, NeedsPerson | Unknown)
    else:
        assert isinstance(here, TryLater | NeedsPerson | Unknown)


def test_a_notice_whose_answer_the_exchange_lost_is_not_resent_as_unsent() -> None:
    manifest = load("public_service")
    (sample,) = (s for s in samples(manifest) if s.name == "render-progress")
    adapter = sample.adapter()
    (call, *_) = adapter.render(sample.outgoing())
    assert manifest.operations[call.operation].repeat == "doubles" and not call.idempotent
    reply = Reply(status=500, body=b"", headers={"x-road-error": "Server.ClientProxy.IOError"})
    assert {type(o) for o in adapter.read(call, reply).outcomes.values()} == {Unknown}


@given(body=st.binary(max_size=200), code=CODES)
def test_no_bytes_make_it_raise(body: bytes, code: str) -> None:
    assert exchange.outcome(Reply(status=500, body=body, headers={"x-road-error": code})) is not None
