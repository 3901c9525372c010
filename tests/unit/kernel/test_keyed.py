"""The keyed hash is HMAC-SHA-256, whatever key and message."""

from __future__ import annotations

import hmac

from hypothesis import given
from hypothesis import strategies as st

from hub.kernel.keyed import keyed


@given(key=st.binary(max_size=200), messages=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_it_is_hmac_sha_256(key: bytes, messages: list[bytes]) -> None:
    digest = keyed(key)
    assert [digest(m) for m in messages] == [hmac.digest(key, m, "sha256") for m in messages]
