"""What a broker of MQTT 5 refuses, and whose fault it is told to be: the publication's, the connector's, or nobody's but the moment's."""

from __future__ import annotations

import asyncio

import pytest

from adapters.kit import everyone, http_outcome
from connectors.address import AddressPolicy
from connectors.errors import CredentialsRefused, QosRefused
from connectors.transports import mqtt
from connectors.transports.base import Request
from connectors.transports.mqtt import MqttClient
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from hub.kernel.ledger.shapes import Exchange
from hub.kernel.ports import Call, NeedsPerson, NotSent
from hub.worker.halves import refused_whole
from tests.contract.connectors.mqtt_wire import Wire, answering
from tests.contract.connectors.test_mqtt import until


def plain(port: int) -> MqttClient:
    return MqttClient(MqttSettings(host="127.0.0.1", port=port, client_id="ra-1", keepalive_s=5), persistent=False)


def outward(port: int, **more: object) -> MqttTransport:
    made = plain(port)._settings.model_copy(update=more)
    return MqttTransport(made, AddressPolicy(["127.0.0.0/8"]), password=None, connect_s=2)


REQUEST = Request(method="PUBLISH", url="t", body=bytes(60), headers={})


@pytest.mark.parametrize("code", [0x86, 0x87])
def test_credentials_refused_in_5_are_credentials_refused(code: int) -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(bytes([0x20, 3, 0, code, 0]))

        async with answering(serve) as (port, levels):
            transport = outward(port)
            with pytest.raises(CredentialsRefused):
                await transport.exchange(Request(method="PUBLISH", url="t", body=b"", headers={}), 3)
            assert levels == [5]
            await transport.close()

    asyncio.run(go())


@pytest.mark.parametrize("code", [0x80, 0x83, 0x96, 0x97])
def test_a_publication_the_broker_cannot_take_now_was_not_sent(code: int) -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x03\x00\x00\x00")
            mid, _ = await wire.publication()
            wire.write(b"\x40\x03" + mid + bytes([code]))
            await wire.packet()

        async with answering(serve) as (port, _):
            transport = outward(port)
            with pytest.raises(NotSent, match="does not take"):
                await transport.exchange(REQUEST, 3)
            await transport.close()

    asyncio.run(go())


@pytest.mark.parametrize("answers", ["", "a/+"], ids=["a publication", "a command"])
@pytest.mark.parametrize(
    ("code", "status"), [(0x87, 406), (0x90, 406), (0x95, 413), (0x99, 415), (None, 413)], ids=lambda v: str(v)
)
def test_a_publication_refused_for_its_own_sake_is_an_answer_about_it_alone(
    code: int | None, status: int, answers: str
) -> None:
    """`code` None: the broker has said before that it takes none so long, and is not asked."""

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x03\x00\x00\x00" if code else b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x28")
            while True:
                kind, body = await wire.packet()
                if kind == 3:
                    assert code is not None
                    wire.write(b"\x40\x03" + body[3:5] + bytes([code]))

        async with answering(serve) as (port, levels):
            transport = outward(port, answers=answers, answer_s=5.0)
            headers = {"reply-topic": "a/1", "reply-key": "id", "reply-value": "7"} if answers else {}
            began = asyncio.get_running_loop().time()
            reply = await transport.exchange(Request(method="PUBLISH", url="t", body=bytes(60), headers=headers), 8)
            assert asyncio.get_running_loop().time() - began < 4, "no receiver's answer is waited for"
            assert reply.status == status and reply.body.startswith(b"MQTT: ") and levels == [5]
            call = Call(operation="o", deliveries=(1, 2), body=b"", content_type="", idempotent=True)
            outcome = http_outcome(call, reply, "x")
            assert isinstance(outcome, NeedsPerson) and outcome.scope == "delivery"
            batch = Exchange(id=1, klass=1, connector=1, call=call, mapping="", reply=reply)
            assert refused_whole(batch, everyone(call, outcome)) == (status == 413), "one too large is halved"
            await transport.close()

    asyncio.run(go())


def test_a_broker_that_confirms_nothing_pauses_the_connector() -> None:
    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x05\x00\x00\x02\x24\x00")
            await wire.packet()

        async with answering(serve) as (port, _):
            transport = outward(port)
            for ask in (transport.reach(2), transport.exchange(REQUEST, 2)):
                with pytest.raises(QosRefused):
                    await ask
            await transport.close()

    asyncio.run(go())


@pytest.mark.parametrize(("code", "words"), [(0x9A, "Retain not supported"), (0x9B, "QoS not supported")])
def test_a_broker_that_cannot_keep_the_will_is_told_of(code: int, words: str) -> None:
    class Here:
        topic = "s"

        def will(self) -> bytes:
            return b"off"

        birth = death = will

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(bytes([0x20, 3, 0, code, 0]))

        async with answering(serve) as (port, _):
            c = MqttClient(plain(port)._settings, presence=Here())
            await c.start()
            assert not await c.connected(2, patient=False) and c.stats.last_error == words
            await c.stop()

    asyncio.run(go())


def test_the_client_is_heard_of_as_often_as_its_own_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[float] = []

    async def beat(_: object, keepalive_s: float) -> None:
        beats.append(keepalive_s)

    monkeypatch.setattr(mqtt.Link, "beat", beat)

    async def go() -> None:
        async def serve(wire: Wire, level: int) -> None:
            wire.write(b"\x20\x06\x00\x00\x03\x13\xff\xff")
            await wire.packet()

        async with answering(serve) as (port, _):
            c = plain(port)
            await c.start()
            assert await c.connected(2)
            await until(lambda: beats == [5])
            await c.stop()

    asyncio.run(go())
