"""Answers to commands: matched by topic and value, one command at a time per receiver, a pause between."""

from __future__ import annotations

import asyncio
import json
import time

from connectors.transports.mqtt_answers import Answers, Wanted, wanted


def want(device: str, value: str, gap_s: float = 0.0) -> Wanted:
    return Wanted(f"gate/{device}/Ack", "messageId", value, gap_s)


def test_only_the_receivers_own_answer_with_the_named_value_counts() -> None:
    async def go() -> None:
        answers = Answers()
        async with answers.turn("gate/a", want("a", "m1")) as future:
            for topic, body in (
                ("gate/b/Ack", {"messageId": "m1"}), ("gate/a/Ack", {"messageId": "m0"}), ("gate/a/Ack", ["m1"]), ("gate/a/Ack", {"x": 1}),
            ):  # fmt: skip
                answers.heard(topic, json.dumps(body).encode())
            answers.heard("gate/a/Ack", b"\xff{")
            answers.heard("gate/a/Ack", b"[" * 100_000)
            assert not future.done()
            answers.heard("gate/a/Ack", b'{"messageId": "m1", "code": 200}')
            answers.heard("gate/a/Ack", b'{"messageId": "m1", "code": 410}')
            assert json.loads(await future)["code"] == 200
        answers.heard("gate/a/Ack", b'{"messageId": "m1"}')

    asyncio.run(go())


def test_one_command_at_a_time_per_receiver_with_its_pause() -> None:
    async def go() -> None:
        answers = Answers()
        order: list[tuple[str, float]] = []

        async def command(device: str, value: str) -> None:
            async with answers.turn(f"gate/{device}", want(device, value, 0.15)):
                order.append((device, time.monotonic()))
                await asyncio.sleep(0.01)

        await asyncio.gather(command("a", "1"), command("a", "2"), command("b", "3"))
        first, second = (at for device, at in order if device == "a")
        (other,) = (at for device, at in order if device == "b")
        assert second - first >= 0.15 and other - first < 0.1

    asyncio.run(go())


def test_a_call_without_the_headers_waits_for_the_broker_alone() -> None:
    assert wanted({}) is None and wanted({"reply-topic": "x"}) is None
    made = wanted({"reply-topic": "x", "reply-key": "id", "reply-value": "7", "gap-ms": "1500"})
    assert made == Wanted("x", "id", "7", 1.5)
    assert (wanted({"reply-topic": "x", "reply-key": "id", "gap-ms": "-1"}) or want("", "")).gap_s == 0.0
