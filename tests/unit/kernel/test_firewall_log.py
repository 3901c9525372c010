"""What an exception quotes of a body is not written down, by whichever handler; where and what broke is."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
from collections.abc import Iterator

import pytest

from hub.kernel.firewall_log import guard, in_a_line, plain, told

IMAGE = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(256)) * 2).decode()
SECRETS = [
    IMAGE,
    IMAGE[:60],
    "http://10.0.0.9/face/7.jpg",
    "Nguyễn Văn Mẫu",
    "HS000123",
    ",".join(f"0.{n:04d}" for n in range(128)),
]


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    before = logging.getLogRecordFactory()
    guard()
    guard()
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    logging.getLogger("asyncio").addHandler(handler)
    yield text
    logger.removeHandler(handler)
    logging.getLogger("asyncio").removeHandler(handler)
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "say",
    [
        "bad value %r",
        "could not convert string to float: '%s'",
        "Key (a)=(%s) already exists",
        "{'a': '%s', 'pic': 1}",
        "oops\nDETAIL: %s",
    ],
)
def test_no_handler_writes_what_an_exception_quotes(written: io.StringIO, secret: str, say: str) -> None:
    logger = logging.getLogger("some.library")
    try:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise ExceptionGroup(
                say % secret, [ValueError(say % secret), RuntimeError("the socket is closed")]
            ) from error
    except Exception as error:
        logger.exception("it broke on %s", "a place")
        logger.error("it broke: %s", error, exc_info=error)
    text = written.getvalue()
    assert secret not in text and secret[:30] not in text
    assert "it broke on a place" in text and "test_firewall_log.py" in text
    assert "ValueError" in text and "KeyError" in text and "the socket is closed" in text


def test_a_task_nobody_waited_for(written: io.StringIO) -> None:
    async def go() -> None:
        async def fail() -> None:
            raise ValueError(f"no number: '{IMAGE}'")

        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        del task

    asyncio.run(go())
    assert "never retrieved" in written.getvalue() and IMAGE[:30] not in written.getvalue()


def test_our_own_words_stay() -> None:
    assert plain(
        OSError(111, "Connection refused")
    ) == "[Errno 111] Connection refused" or "Connection refused" in plain(OSError(111, "Connection refused"))
    assert plain(KeyError("facesluiceId")) == "'facesluiceId'"
    assert (
        plain(AttributeError("'NoneType' object has no attribute 'get'")) == "'NoneType' object has no attribute 'get'"
    )
    assert "RuntimeError: nothing listens at port 5432" in told(RuntimeError("nothing listens at port 5432"))


def test_an_exception_that_cannot_be_shown() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError(IMAGE)

    assert plain(Odd()) == "…" and IMAGE not in told(Odd())


def test_who_repeats_itself_tells_why_in_a_line(written: io.StringIO) -> None:
    logger = logging.getLogger("some.library")
    logger.addFilter(in_a_line)
    try:
        try:
            raise ConnectionRefusedError(111, f"refused: '{SECRETS[3]}'")
        except ConnectionRefusedError:
            logger.warning("the pool has no %s; retrying", "connection", exc_info=True)
        logger.warning("and nothing more")
    finally:
        logger.removeFilter(in_a_line)
    first, second = written.getvalue().splitlines()
    assert first == "WARNING some.library: the pool has no connection; retrying: ConnectionRefusedError: … refused: …"
    assert second == "WARNING some.library: and nothing more"
