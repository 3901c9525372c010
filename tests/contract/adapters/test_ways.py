"""A manifest's transports and schemes are those connectors have, and a connector of another kind is refused."""

from __future__ import annotations

import pytest

from adapters import manifest as manifests
from adapters.manifest import ROOT, Unfit
from connectors.settings import KINDS, SCHEMES, picks_up

MANIFESTS = manifests.load_all()
NATIONAL = ("ministry", "population", "public_service")


@pytest.mark.parametrize("system", MANIFESTS)
def test_what_a_manifest_names_exists(system: str) -> None:
    found = MANIFESTS[system]
    assert found.transports and set(found.transports) <= set(KINDS)
    assert found.auth and set(found.auth) <= set(SCHEMES)
    for kind in found.transports:
        for scheme in found.auth:
            found.check_way(kind, scheme)


@pytest.mark.parametrize("system", MANIFESTS)
def test_another_kind_is_refused_with_its_place_in_both_languages(system: str) -> None:
    found = MANIFESTS[system]
    for kind in {*KINDS, "xroad"} - set(found.transports):
        with pytest.raises(Unfit) as refused:
            found.check_way(kind, found.auth[0])
        (error,) = refused.value.errors
        assert error.pointer == "/transport/kind" and kind in error.message.vi and kind in error.message.en
    for scheme in set(SCHEMES) - set(found.auth):
        with pytest.raises(Unfit) as refused:
            found.check_way(found.transports[0], scheme)
        assert [e.pointer for e in refused.value.errors] == ["/auth/scheme"]


@pytest.mark.parametrize("system", MANIFESTS)
def test_any_system_may_leave_files_in_a_folder_and_none_is_sent_any(system: str) -> None:
    found = MANIFESTS[system]
    for kind in ("sftp", "folder"):
        stored = {"transport": {"kind": kind, "takes": "learner"}}
        assert picks_up(stored) is True
        found.check_way(kind, "none", picks_up(stored))
        for takes in ({}, {"takes": "none"}):
            with pytest.raises(Unfit) as refused:
                found.check_way(kind, "none", picks_up({"transport": {"kind": kind, **takes}}))
            assert [e.pointer for e in refused.value.errors] == ["/transport/takes"]
    for kind in set(KINDS) - {"sftp", "folder"}:
        assert picks_up({"transport": {"kind": kind, "takes": "learner"}}) is None


@pytest.mark.parametrize("system", NATIONAL)
def test_adapters_stay_small_beside_their_contracts(system: str) -> None:
    assert len((ROOT / system / "adapter.py").read_text("utf-8").splitlines()) <= 165
