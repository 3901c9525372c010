"""The outward guard."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.address import AddressPolicy


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:a00:1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fec0::1", "not-an-ip", ""],
)  # fmt: skip
def test_inward_addresses_are_refused(address: str) -> None:
    assert AddressPolicy().refusal(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressPolicy().refusal(address) is None


def test_the_hubs_own_configuration_allows_networks() -> None:
    policy = AddressPolicy(["10.20.0.0/16", "::1/128"])
    assert policy.refusal("10.20.3.4") is None and policy.refusal("::1") is None
    assert policy.refusal("::ffff:10.20.3.4") is None
    assert policy.refusal("10.21.0.1") and policy.refusal("127.0.0.1")
    with pytest.raises(ValueError, match="does not appear"):
        AddressPolicy(["10.0.0.0/99"])


@given(st.ip_addresses(v=4))
def test_no_wrapping_lets_an_inward_address_through(address: ipaddress.IPv4Address) -> None:
    policy = AddressPolicy()
    plain = policy.refusal(str(address)) is None
    number = int(address)
    for wrapped in (
        0xFFFF << 32 | number,
        int(ipaddress.IPv6Address("64:ff9b::")) | number,
        0x2002 << 112 | number << 80,
    ):
        assert (policy.refusal(str(ipaddress.IPv6Address(wrapped))) is None) == plain
