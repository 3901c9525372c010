"""Every adapter folder inherits these tests by being there; an adapter's fixtures are its own folder."""

from __future__ import annotations

import pytest

from adapters import manifest as manifests
from adapters.manifest import Manifest
from adapters.samples import Sample, samples


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`manifest`: one per folder. `sample`: one per sample. `fault`: one per (folder, fault kind)."""
    every = manifests.load_all()
    if "sample" in metafunc.fixturenames:
        found = [s for m in every.values() for s in samples(m)]
        metafunc.parametrize("sample", found, ids=[f"{s.manifest.system}-{s.name}" for s in found])
    elif "fault" in metafunc.fixturenames:
        pairs = [(m, kind) for m in every.values() for kind in m.faults]
        metafunc.parametrize(("manifest", "fault"), pairs, ids=[f"{m.system}-{kind}" for m, kind in pairs])
    elif "manifest" in metafunc.fixturenames:
        metafunc.parametrize("manifest", list(every.values()), ids=list(every))


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to make a socket or read a clock fails: adapters are pure."""
    import socket
    import time

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an adapter must be pure: no socket, no clock")

    monkeypatch.setattr(socket, "socket", refuse)
    for name in ("time", "time_ns", "monotonic", "monotonic_ns"):
        monkeypatch.setattr(time, name, refuse)


__all__ = ["Manifest", "Sample"]
