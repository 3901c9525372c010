"""Settings for asking a gate for its list: what is refused, and how it is said."""

from __future__ import annotations

import pytest

from hub.worker.list_settings import BadListSettings, check

GIVEN = {"transport": {"kind": "rest", "base_url": "http://10.20.0.31"}}


@pytest.mark.parametrize(
    "address",
    ["", "http://10.20.0.2:8080", "https://hub.example.vn", "https://hub.example.vn/lt", "http://[fd00::2]:8080"],
)
def test_the_hubs_address_as_the_gate_sees_it(address: str) -> None:
    assert check({**GIVEN, "push_base": address}, []).push_base == address


@pytest.mark.parametrize(
    "address",
    [
        "http://hub:port", "http://hub:99999", "http://hub:0", "http://[::1", "hub.example.vn", "ftp://hub.example.vn",
        "http://", "http://user:secret@hub", "http://hub/?a=1", "http://hub/#x", "http://hub /", "http://hub\n/", "http://hu\u200bb",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_a_gate_is_told(address: str) -> None:
    with pytest.raises(BadListSettings, match=r"push_base: .+ / .+"):
        check({**GIVEN, "push_base": address}, [])
