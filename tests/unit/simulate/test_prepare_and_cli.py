"""Connector settings that fit their adapters, real systems left alone, and the simulators' command line."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from adapters import manifest as manifests
from adapters.ministry.simulator import Simulator
from connectors.settings import check_secrets, validate
from hub.simulate import prepare
from hub.simulate.single import simulate
from hub.simulated import is_simulated


@pytest.mark.parametrize("system", prepare.SYSTEMS)
def test_settings_fit_the_adapter_and_hold_every_secret(system: str) -> None:
    settings = validate(prepare.connector_settings(system, "http://127.0.0.1:8123"))
    manifest = manifests.load(system)
    manifest.build(settings.adapter, settings.profile)
    manifest.check_way(settings.transport.kind, settings.auth.scheme)
    check_secrets(settings, prepare.secrets_of(system))


def test_only_the_address_moves() -> None:
    given = prepare.connector_settings("public_service", "http://127.0.0.1:8123")
    given["policy"]["concurrency"] = 3
    moved = prepare.moved(given, "http://127.0.0.1:9001")
    assert moved["transport"]["base_url"] == "http://127.0.0.1:9001"
    assert moved["auth"]["login_url"] == "http://127.0.0.1:9001/mapi/login"
    moved["transport"]["base_url"], moved["auth"]["login_url"] = (
        given["transport"]["base_url"],
        given["auth"]["login_url"],
    )
    assert moved == given


@pytest.mark.parametrize(
    ("url", "simulated"),
    [
        ("http://127.0.0.1:80", True),
        ("http://localhost:1/x", True),
        ("https://bo.example.vn", False),
        ("http://127.0.0.1.example.vn", False),
        ("", False),
    ],
)
def test_a_real_system_is_told_from_a_simulator(url: str, simulated: bool) -> None:
    assert is_simulated({"transport": {"base_url": url}}) is simulated


@pytest.fixture
def running() -> Iterator[tuple[str, Simulator]]:
    """A simulator in a thread of its own, as another process would be."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    simulator = Simulator()
    url = asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(10)
    yield url, simulator
    asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_faults_are_switched_from_the_command_line(running: tuple[str, Simulator]) -> None:
    url, simulator = running
    done = CliRunner().invoke(simulate, ["fault", url, "down_503", "--for", "20", "--count", "3", "--match", "hocsinh"])
    assert done.exit_code == 0, done.output
    assert "down_503" in done.output
    (fault,) = simulator.faults
    assert (fault.for_s, fault.count, fault.match) == (20.0, 3, "hocsinh")
    assert CliRunner().invoke(simulate, ["fault", url, "none"]).exit_code == 0
    assert simulator.faults == []
    shown = CliRunner().invoke(simulate, ["books", url])
    assert '"system": "ministry"' in shown.output


@pytest.mark.parametrize(
    "words",
    [
        ["fault", "http://127.0.0.1:1", "down_503"],
        ["fault", "http://127.0.0.1:1", "earthquake"],
        ["fault", "http://127.0.0.1:1", "slow", "--for", "0"],
        ["books", "no address"],
        ["ministry", "--fault", "earthquake:3"],
        ["ministry", "--fault", "down_503:lâu"],
        ["ministry", "--fault", "down_503:nan"],
    ],
)
def test_what_cannot_be_done_is_said(words: list[str]) -> None:
    done = CliRunner().invoke(simulate, words)
    assert done.exit_code != 0
    assert "Error" in done.output
    assert not isinstance(done.exception, ValueError | OSError)


def test_every_simulator_has_a_command() -> None:
    assert set(prepare.SYSTEMS) <= set(simulate.commands)
