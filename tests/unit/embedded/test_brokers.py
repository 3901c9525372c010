from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.embedded import mosquitto, mqtt, nats
from hub.embedded.area import Area
from hub.embedded.broker import BrokerError, BrokerUser
from hub.embedded.mqtt import check_filter

SECRET = "device-secret-1"


@pytest.fixture
def area(tmp_path: Path) -> Area:
    return Area(tmp_path, tmp_path, tmp_path, None)


def test_mosquittos_password_form() -> None:
    made = mosquitto.password_hash(SECRET, salt=b"0123456789ab", iterations=101)
    _, kind, iterations, salt, digest = made.split("$")
    assert (kind, iterations, base64.b64decode(salt)) == ("7", "101", b"0123456789ab")
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac("sha512", SECRET.encode(), b"0123456789ab", 101)
    assert mqtt.hashed_form(made)
    assert not mqtt.hashed_form(SECRET)
    assert mosquitto.password_hash(SECRET) != mosquitto.password_hash(SECRET)


@pytest.mark.parametrize("topic", ["a", "/a", "a/b", "+/b/#", "#", "campus/v1/Trường/x"])
def test_filters(topic: str) -> None:
    check_filter(topic)


@pytest.mark.parametrize("topic", ["", "a//b", "a/", "#/a", "a/b+", "a#", "a\nuser root", "$SYS/#", "a b", "a\x00"])
def test_not_filters(topic: str) -> None:
    with pytest.raises(BrokerError):
        check_filter(topic)


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "#x", " a", "x" * 65, "a/b"])
def test_names_that_would_break_a_file(name: str) -> None:
    with pytest.raises(BrokerError):
        BrokerUser(name, SECRET).check()


@given(st.text(max_size=40))
def test_no_accepted_text_holds_a_line_break(text: str) -> None:
    for user in (BrokerUser(text, SECRET), BrokerUser("n", text * 2), BrokerUser("n", SECRET, [text])):
        try:
            user.check()
        except BrokerError:
            continue
        assert not any(c in user.name + user.secret + "".join(user.reads) for c in "\n\r\x00\x0b\x85\u2028")


def test_files_for_devices(area: Area) -> None:
    broker = mosquitto.Mosquitto(area, port=1883, bridge=BrokerUser("bridge", SECRET, ["#"], ["#"]))
    broker.write_config()
    hashed = mosquitto.password_hash("other-secret")
    broker.set_devices([BrokerUser("g1", SECRET, ["a/cmd"], ["a/evt"]), BrokerUser("g2", hashed)])
    users = area.root / "mosquitto" / "users"
    lines = (users / "passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["bridge", "g1", "g2"]
    assert lines[2] == f"g2:{hashed}"
    assert SECRET not in (users / "passwords").read_text()
    assert "user g1\ntopic read a/cmd\ntopic write a/evt\n" in (users / "rights").read_text()
    assert (users / "passwords").stat().st_mode & 0o777 == 0o600
    broker.set_devices([BrokerUser("g1", SECRET)])
    assert (users / "passwords").read_text().splitlines() == lines[:2]  # an unchanged secret is not hashed again
    with pytest.raises(BrokerError, match="two users"):
        broker.set_devices([BrokerUser("g1", SECRET), BrokerUser("g1", SECRET)])


@pytest.mark.parametrize(
    ("topic", "subject"), [("a/b", "a.b"), ("a/+/#", "a.*.>"), ("campus/v1.2/x", "campus.v1//2.x")]
)
def test_topics_as_subjects(topic: str, subject: str) -> None:
    assert nats.subject(topic) == subject


def test_the_stand_in_refuses_what_it_cannot_do(area: Area) -> None:
    bridge = BrokerUser("bridge", SECRET, ["#"], ["#"])
    with pytest.raises(BrokerError):
        nats.Nats(area, port=1, bridge=bridge, tls=mqtt.Tls(2, Path("c"), Path("k")))
    broker = nats.Nats(area, port=1, bridge=bridge)
    assert broker.warning is not None
    assert broker.warning.vi
    assert broker.warning.en
    broker.write_config()
    with pytest.raises(BrokerError, match="plain secret"):
        broker.set_devices([BrokerUser("g", mosquitto.password_hash(SECRET))])
