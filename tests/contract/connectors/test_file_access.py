"""Who is who where files are dropped: host keys, log-ins, and folders outside the roots."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import paramiko
import pytest

from connectors.address import AddressPolicy
from connectors.errors import AddressRefused, CredentialsRefused, HostKeyRefused, SettingsInvalid
from hub.kernel.ports import NotSent
from tests.contract.connectors import file_places as places

Place = places.Place
drop = places.drop
place = places.place
run = places.run
sftp = places.sftp


def test_the_pinned_host_key_is_demanded_before_any_log_in(sftp: Place) -> None:
    other = paramiko.ECDSAKey.generate()
    for line in (f"{other.get_name()} {other.get_base64()}", _ed25519_line()):
        with pytest.raises(HostKeyRefused):
            run(lambda c: c.send(drop(), 5), sftp.connector(host_keys=[line]))
    assert sftp.book.logins == []
    two = [f"{other.get_name()} {other.get_base64()}", f"may-chu {sftp.book.line}"]
    assert run(lambda c: c.send(drop(), 5), sftp.connector(host_keys=two)).status == 201


def _ed25519_line() -> str:
    import base64

    blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes(32)
    return "ssh-ed25519 " + base64.b64encode(blob).decode()


def test_refused_credentials_pause_and_show_nothing(sftp: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    connector = sftp.connector(secrets={"sftp_password": "mat-khau-lo-ra"})
    with pytest.raises(CredentialsRefused) as refused:
        run(lambda c: c.send(drop(), 5), connector)
    shown = str(refused.value) + repr(refused.value) + repr(connector) + repr(vars(connector._transport)) + caplog.text
    assert "mat-khau-lo-ra" not in shown and len(sftp.book.logins) == 1


def test_a_key_logs_in_and_a_broken_one_is_told_at_once(sftp: Place) -> None:
    key = paramiko.RSAKey.generate(2048)
    text = io.StringIO()
    key.write_private_key(text, password="kin")
    secrets = {"sftp_key": text.getvalue(), "sftp_key_passphrase": "kin"}
    with pytest.raises(CredentialsRefused):
        run(lambda c: c.send(drop(), 5), sftp.connector(login="key", secrets=secrets))
    sftp.book.keys.append(key.asbytes())
    assert run(lambda c: c.send(drop(), 5), sftp.connector(login="key", secrets=secrets)).status == 201
    for wrong in ({**secrets, "sftp_key_passphrase": "sai"}, {"sftp_key": "khong-phai"}, {}):
        with pytest.raises(SettingsInvalid) as invalid:
            sftp.connector(login="key", secrets=wrong)
        assert invalid.value.errors[0].pointer == "/secrets/sftp_key" and "khong-phai" not in str(invalid.value)


def test_inward_addresses_and_folders_outside_the_roots_are_refused(sftp: Place, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused):
        run(lambda c: c.send(drop(), 5), sftp.connector(policy=AddressPolicy()))
    assert sftp.book.connections == 0
    outside, inside = tmp_path / "ngoai", tmp_path / "trong"
    outside.mkdir()
    inside.mkdir()
    (inside / "loi").symlink_to(outside)
    (inside / "out").symlink_to(outside)
    policy = AddressPolicy(folders=[inside])
    for path in (outside, inside / "loi", inside / ".." / "ngoai", Path("/etc")):
        with pytest.raises(AddressRefused):
            run(lambda c: c.send(drop(), 5), Place("folder", path, None).connector(policy=policy))
    with pytest.raises(NotSent):  # the folder for drops is itself a way out
        run(lambda c: c.send(drop(), 5), Place("folder", inside, None).connector(policy=policy))
    assert list(outside.iterdir()) == []


def test_the_live_test_says_how_far_it_came(place: Place) -> None:
    found = run(lambda c: c.probe(5), place.connector())
    assert found.ok and found.detail.vi
    refused = run(lambda c: c.probe(5), place.connector(policy=AddressPolicy()))
    assert not refused.ok and refused.step == "address"
