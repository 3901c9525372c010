from __future__ import annotations

from pathlib import Path

import pytest

from hub.keys import CannotDecrypt, KeyMissing, Keys, default_path


def test_created_once_private_and_the_same_after(tmp_path: Path) -> None:
    path = tmp_path / "made" / "master.key"
    first = Keys.load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert Keys.load(path).hmac("x") == first.hmac("x")
    assert [p.name for p in path.parent.iterdir()] == ["master.key"]


def test_purposes_differ_and_tell_nothing_of_the_master(tmp_path: Path) -> None:
    keys = Keys.load(tmp_path / "k")
    master = (tmp_path / "k").read_text().strip()
    made = {keys.hmac(purpose).hex() for purpose in ("a", "b", "encryption", "fingerprint")}
    assert len(made) == 4
    assert master not in made
    assert master not in repr(keys)
    assert len(keys.hmac("long", 64)) == 64


def test_a_lost_or_other_key_is_never_replaced(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "k"
    Keys.open(path, data)
    path.unlink()
    with pytest.raises(KeyMissing):
        Keys.open(path, data)
    assert not path.exists()
    Keys.load(path)
    with pytest.raises(KeyMissing, match="not the key"):
        Keys.open(path, data)


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "00" * 33, "\u00e9"])
def test_a_broken_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "k"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyMissing):
        Keys.load(path)


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    Keys.load(path)
    path.chmod(0o640)
    with pytest.raises(KeyMissing, match="0640"):
        Keys.load(path)


def test_encryption_is_bound_to_its_place_and_unaltered() -> None:
    keys = Keys(bytes(range(32)))
    sealed = keys.encrypt(b"secret", b"connector:1")
    assert keys.decrypt(sealed, b"connector:1") == b"secret"
    assert keys.encrypt(b"secret", b"connector:1") != sealed
    for broken in (sealed[:-1], b"", b"\x02" + sealed[1:], sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:]):
        with pytest.raises(CannotDecrypt):
            keys.decrypt(broken, b"connector:1")
    with pytest.raises(CannotDecrypt):
        keys.decrypt(sealed, b"connector:2")
    with pytest.raises(CannotDecrypt):
        Keys(bytes(32)).decrypt(sealed, b"connector:1")


def test_the_default_place_is_outside_the_data_folder(tmp_path: Path) -> None:
    assert tmp_path not in default_path(tmp_path).parents
    assert default_path(tmp_path) != default_path(tmp_path / "other")
