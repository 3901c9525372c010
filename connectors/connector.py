"""A connector at work: a transport and a scheme behind `send`.

One concern: signing a call, sending it, renewing a lapsed credential once, and making the first quick tries. It must
never repeat a call that may have been processed unless its contract makes a repeat harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random
from tenacity.stop import stop_base

from connectors.address import AddressPolicy
from connectors.auth.base import Clock, Scheme
from connectors.errors import AddressRefused, CredentialsRefused
from connectors.settings import ConnectorSettings, check_secrets
from connectors.transports.base import Transport
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from connectors.transports.rest import RestTransport
from connectors.transports.soap import SoapSettings, SoapTransport
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply, Text


class Try(Struct, frozen=True, kw_only=True):
    """One quick try, to be recorded as an attempt. Times in UTC."""

    started: datetime
    ended: datetime
    outcome: Literal["reply", "not_sent", "maybe_sent"]
    error: str | None = None
    status: int | None = None


class ProbeResult(Struct, frozen=True, kw_only=True):
    """What the live test found. `step` is how far it came; `detail` says it to people."""

    ok: bool
    ms: float
    step: Literal["address", "connect", "authenticate", "answer", "done"]
    detail: Text


class Tries(NamedTuple):
    """What `send_with_tries` gives: the reply and every try it took."""

    reply: Reply
    tries: list[Try]


class LiveConnector:
    """See `hub.kernel.ports.Connector`. Built by `build`; belongs to one event loop."""

    def __init__(self, settings: ConnectorSettings, transport: Transport, scheme: Scheme, clock: Clock) -> None:
        self.settings = settings
        self._transport = transport
        self._scheme = scheme
        self._clock = clock

    def __repr__(self) -> str:
        return f"LiveConnector({self.settings.name!r})"

    async def send(self, call: Call, deadline_s: float) -> Reply:
        """Send once and give the reply, whatever its status. `deadline_s` covers everything, a log-in too.

        A reply that says the credential had lapsed proves that the call was not processed, so the call is signed anew
        and sent again, once. Raises only `NotSent` (`CredentialsRefused` and `AddressRefused` among them) and
        `MaybeSent`. When the task is cancelled the caller knows nothing, which is to be taken as `MaybeSent`.
        """
        ends = time.monotonic() + deadline_s
        request = self._transport.request(call)
        signed = await self._scheme.sign(request, self._transport.exchange, deadline_s)
        reply = await self._transport.exchange(signed, ends - time.monotonic())
        if self._scheme.lapsed(signed, reply):
            signed = await self._scheme.sign(request, self._transport.exchange, ends - time.monotonic())
            reply = await self._transport.exchange(signed, ends - time.monotonic())
        return reply

    async def send_with_tries(self, call: Call, deadline_s: float) -> Tries:
        """Send with the settings' quick tries, all within `deadline_s`: `reply, tries = await …`.

        Only `NotSent` is tried again, and `MaybeSent` when the call is idempotent; refused credentials and addresses
        are not. The last error is raised with an attribute `tries`, the list of every try. A `MaybeSent` is never
        hidden by a later `NotSent`: an idempotent call that may have arrived once stays one that may have arrived.
        """
        policy = self.settings.policy.quick_tries
        ends = time.monotonic() + deadline_s
        tries: list[Try] = []
        doubt: MaybeSent | None = None

        async def once() -> Reply:
            nonlocal doubt
            started = self._now()
            try:
                reply = await self.send(call, ends - time.monotonic())
            except NotSent as error:
                tries.append(Try(started=started, ended=self._now(), outcome="not_sent", error=str(error)))
                raise
            except MaybeSent as error:
                doubt = error
                tries.append(Try(started=started, ended=self._now(), outcome="maybe_sent", error=str(error)))
                raise
            tries.append(Try(started=started, ended=self._now(), outcome="reply", status=reply.status))
            return reply

        def again(error: BaseException) -> bool:
            if isinstance(error, CredentialsRefused | AddressRefused):
                return False
            return isinstance(error, NotSent) or (isinstance(error, MaybeSent) and call.idempotent)

        try:
            # The first try without the machinery of trying again: nearly every call needs no more.
            return Tries(await once(), tries)
        except (NotSent, MaybeSent) as error:
            first: NotSent | MaybeSent | None = error

        async def further() -> Reply:
            nonlocal first
            if first is not None:
                made, first = first, None
                raise made
            return await once()

        retrying = AsyncRetrying(
            stop=stop_after_attempt(policy.attempts) | _StopAt(ends),
            wait=wait_random(0, policy.wait_s),
            retry=retry_if_exception(again),
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            return Tries(await retrying(further), tries)
        except (NotSent, MaybeSent) as error:
            final = doubt if doubt is not None else error
            final.tries = tries  # type: ignore[union-attr]
            raise final from (None if final is error else error)

    async def probe(self, deadline_s: float = 10.0) -> ProbeResult:
        """The live test: reach the address, log in where the scheme has a log-in, and ask the probe path if one is
        set. Changes nothing at the counterparty and raises nothing."""
        started = time.perf_counter()
        ends = time.monotonic() + deadline_s
        step: Literal["address", "connect", "authenticate", "answer", "done"] = "connect"
        try:
            await self._transport.reach(deadline_s)
            step = "authenticate"
            logged_in = await self._scheme.check(self._transport.exchange, ends - time.monotonic())
            step = "answer"
            status = await self._ask_probe_path(ends)
        except AddressRefused as error:
            return _probed(False, started, "address", f"Địa chỉ không được phép: {error}", f"Address refused: {error}")
        except CredentialsRefused as error:
            return _probed(
                False, started, "authenticate", f"Tài khoản bị từ chối: {error}", f"Credentials refused: {error}"
            )
        except (NotSent, MaybeSent) as error:
            vi, en = _STEPS[step]
            return _probed(False, started, step, f"{vi}: {error}", f"{en}: {error}")
        if status is not None and (status in (401, 403) or status >= 500):
            return _probed(
                False, started, "answer", f"Đối tác trả lời mã {status}", f"The counterparty answered {status}"
            )
        vi = "Kết nối được" + (", đăng nhập được" if logged_in else "") + (f", mã {status}" if status else "")
        en = "Connected" + (", logged in" if logged_in else "") + (f", status {status}" if status else "")
        return _probed(True, started, "done", vi, en)

    async def close(self) -> None:
        """Give back sockets."""
        await self._transport.close()

    async def _ask_probe_path(self, ends: float) -> int | None:
        path = getattr(self.settings.transport, "probe_path", None)
        if path is None:
            return None
        ask = Call(
            operation="probe", deliveries=(), body=b"", content_type="", idempotent=True, method="GET", path=path
        )
        request = self._transport.request(ask)
        if self.settings.auth.scheme != "portal_session":  # its credential goes into a body, and a GET has none
            request = await self._scheme.sign(request, self._transport.exchange, ends - time.monotonic())
        return (await self._transport.exchange(request, ends - time.monotonic())).status

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


_STEPS = {
    "address": ("Địa chỉ không được phép", "Address refused"),
    "connect": ("Không kết nối được", "Could not connect"),
    "authenticate": ("Không đăng nhập được", "Could not log in"),
    "answer": ("Không có trả lời", "No answer"),
    "done": ("Lỗi", "Failed"),
}


class _StopAt(stop_base):
    """Stop once the next try would begin after the deadline."""

    def __init__(self, ends: float) -> None:
        self._ends = ends

    def __call__(self, retry_state: RetryCallState) -> bool:
        return time.monotonic() + retry_state.upcoming_sleep >= self._ends


def _probed(
    ok: bool,
    started: float,
    step: Literal["address", "connect", "authenticate", "answer", "done"],
    vi: str,
    en: str,
) -> ProbeResult:
    return ProbeResult(ok=ok, ms=(time.perf_counter() - started) * 1000, step=step, detail=Text(vi, en))


def build(
    settings: ConnectorSettings,
    secrets: Mapping[str, str],
    address_policy: AddressPolicy,
    clock: Clock = time.time,
) -> LiveConnector:
    """A connector ready for use; no socket is opened yet. `secrets` by the names `secrets_of` gives; others are
    ignored. Raises `SettingsInvalid` when a required one is missing."""
    check_secrets(settings, secrets)
    return LiveConnector(
        settings, _transport(settings, secrets, address_policy), _scheme(settings, secrets, clock), clock
    )


def _transport(settings: ConnectorSettings, secrets: Mapping[str, str], policy: AddressPolicy) -> Transport:
    kind, timeouts = settings.transport, settings.policy.timeouts
    if isinstance(kind, MqttSettings):
        return MqttTransport(kind, policy, password=secrets.get("mqtt_password"), connect_s=timeouts.connect_s)
    http = SoapTransport if isinstance(kind, SoapSettings) else RestTransport
    return http(
        kind,
        policy,
        connections=settings.policy.concurrency,
        connect_s=timeouts.connect_s,
        read_s=timeouts.read_s,
    )


def _scheme(settings: ConnectorSettings, secrets: Mapping[str, str], clock: Clock) -> Scheme:
    return settings.auth.build(secrets, clock)
