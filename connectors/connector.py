"""A connector at work: a transport and a scheme behind `send`.

One concern: signing a call, sending it, renewing a lapsed credential once, and making the first quick tries. It must
never repeat a call that may have been processed unless its contract makes a repeat harmless.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random
from tenacity.stop import stop_base

from connectors.address import AddressPolicy
from connectors.auth.base import Clock, Scheme
from connectors.errors import AddressRefused, CredentialsRefused, Refused
from connectors.settings import ConnectorSettings, TimeoutSettings, check_secrets
from connectors.transports.base import Request, Transport
from connectors.transports.files_settings import FileSettings, FolderSettings, SftpSettings
from connectors.transports.layers import Layered
from connectors.transports.mqtt_publish import MqttTransport
from connectors.transports.mqtt_settings import MqttSettings
from connectors.transports.platform import plan
from hub.kernel.ports import Call, MaybeSent, NotSent, Reply, Text

if TYPE_CHECKING:
    from connectors.transports.pickup import Inbox


class Try(Struct, frozen=True, kw_only=True):
    """One quick try that failed, to be recorded as an attempt. Times in UTC."""

    started: datetime
    ended: datetime
    outcome: Literal["not_sent", "maybe_sent"]
    error: str


class ProbeResult(Struct, frozen=True, kw_only=True):
    """What the live test found. `step` is how far it came; `detail` says it to people."""

    ok: bool
    ms: float
    step: Literal["address", "connect", "authenticate", "answer", "done"]
    detail: Text


class Permits(Protocol):
    """Whose permit a call has taken before it is given to `send`, where the counterparty sets a quota."""

    async def another(self) -> bool:
        """The permit held has served a call made on the way (a log-in): wait for another. False: there is none."""
        ...


class Tries(NamedTuple):
    """What `send_with_tries` gives: the reply, and the tries before it."""

    reply: Reply
    failed: list[Try]


class LiveConnector:
    """See `hub.kernel.ports.Connector`. Built by `build`; belongs to one event loop."""

    def __init__(self, settings: ConnectorSettings, transport: Transport, scheme: Scheme, clock: Clock) -> None:
        self.settings = settings
        self._transport = transport
        self._scheme = scheme
        self._clock = clock
        self.permits: Permits | None = None
        """Set by whoever sends under a quota: a log-in is a call the counterparty counts too."""

    def __repr__(self) -> str:
        return f"LiveConnector({self.settings.name!r})"

    async def send(self, call: Call, deadline_s: float) -> Reply:
        """Send once and give the reply, whatever its status. `deadline_s` covers everything, a log-in too.

        A reply that says the credential had lapsed proves that the call was not processed, so the call is signed anew
        and sent again, once. Raises only `NotSent` (`CredentialsRefused` and `AddressRefused` among them) and
        `MaybeSent`. When the task is cancelled the caller knows nothing, which is to be taken as `MaybeSent`.
        """
        if self.permits is not None:
            return await self._send_counted(call, deadline_s, self.permits)
        ends = time.monotonic() + deadline_s
        request = self._transport.request(call)
        signed = await self._scheme.sign(request, self._transport.exchange, deadline_s)
        reply = await self._transport.exchange(signed, ends - time.monotonic())
        if self._scheme.lapsed(signed, reply):
            signed = await self._scheme.sign(request, self._transport.exchange, ends - time.monotonic())
            reply = await self._transport.exchange(signed, ends - time.monotonic())
            self._scheme.lapsed(signed, reply)  # the scheme learns from it; there is no third time
        return reply

    async def _send_counted(self, call: Call, deadline_s: float, permits: Permits) -> Reply:
        """The same where every call the counterparty sees needs a permit, log-ins too. Waiting for one before a call is not time it took."""
        ends = time.monotonic() + deadline_s
        request, wire = self._transport.request(call), _Counted(self._transport, permits)
        signed = await self._scheme.sign(request, wire, deadline_s)
        ends += await wire.ready()
        reply = await wire(signed, ends - time.monotonic())
        if self._scheme.lapsed(signed, reply):
            ends += await wire.ready()
            signed = await self._scheme.sign(request, wire, ends - time.monotonic())
            ends += await wire.ready()
            reply = await wire(signed, ends - time.monotonic())
            self._scheme.lapsed(signed, reply)
        return reply

    async def send_with_tries(self, call: Call, deadline_s: float) -> Tries:
        """Send with the settings' quick tries, all within `deadline_s`: `reply, failed = await …`.

        Only `NotSent` is tried again, and `MaybeSent` when the call is idempotent; refused credentials and addresses
        are not. The last error is raised with an attribute `tries`, the list of every try. A `MaybeSent` is never
        hidden by a later `NotSent`: an idempotent call that may have arrived once stays one that may have arrived.
        """
        started, ends = self._clock(), time.monotonic() + deadline_s
        try:
            # The first try without the machinery of trying again: nearly every call needs no more.
            return Tries(await self.send(call, deadline_s), [])
        except (NotSent, MaybeSent) as error:
            return await self._try_again(call, ends, error, started)

    async def _try_again(self, call: Call, ends: float, error: NotSent | MaybeSent, started: float) -> Tries:
        """The tries after the first, which failed with `error`."""
        policy = self.settings.policy.quick_tries
        failed: list[Try] = []
        doubt: MaybeSent | None = None
        first: NotSent | MaybeSent | None = error

        async def once() -> Reply:
            nonlocal doubt, first, started
            try:
                if first is not None:
                    made, first = first, None
                    raise made
                started = self._clock()
                return await self.send(call, ends - time.monotonic())
            except (NotSent, MaybeSent) as error:
                sent = isinstance(error, MaybeSent)
                doubt = error if isinstance(error, MaybeSent) else doubt
                failed.append(
                    Try(
                        started=datetime.fromtimestamp(started, UTC),
                        ended=datetime.fromtimestamp(self._clock(), UTC),
                        outcome="maybe_sent" if sent else "not_sent",
                        error=str(error),
                    )
                )
                raise

        def again(error: BaseException) -> bool:
            if isinstance(error, Refused):
                return False
            return isinstance(error, NotSent) or (isinstance(error, MaybeSent) and call.idempotent)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(policy.attempts) | _StopAt(ends),
            wait=wait_random(0, policy.wait_s),
            retry=retry_if_exception(again),
            sleep=asyncio.sleep,
            reraise=True,
        )
        try:
            return Tries(await retrying(once), failed)
        except (NotSent, MaybeSent) as last:
            final = doubt if doubt is not None else last
            final.tries = failed  # type: ignore[union-attr]
            raise final from (None if final is last else last)

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

    def inbox(self) -> Inbox | None:
        """The pick-up side of a connector that moves files; None for every other."""
        if not isinstance(self.settings.transport, FileSettings):
            return None
        from connectors.transports.files import FilesTransport
        from connectors.transports.pickup import Inbox

        assert isinstance(self._transport, FilesTransport)
        timeouts = self.settings.policy.timeouts
        return Inbox(self._transport, timeout_s=timeouts.connect_s + timeouts.read_s)

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
            signed = await self._scheme.sign(request, self._transport.exchange, ends - time.monotonic())
            reply = await self._transport.exchange(signed, ends - time.monotonic())
            if not self._scheme.lapsed(signed, reply):
                return reply.status
            request = await self._scheme.sign(request, self._transport.exchange, ends - time.monotonic())
        return (await self._transport.exchange(request, ends - time.monotonic())).status


class _Counted:
    """A transport's exchange for one send: the permit its caller took serves the first call, each further one needs another."""

    def __init__(self, transport: Transport, permits: Permits) -> None:
        self._transport, self._permits = transport, permits
        self._used = False

    async def ready(self) -> float:
        """Have a permit that has not served yet; the seconds that took. Raises `NotSent` when there is none."""
        began = time.monotonic()
        if self._used and not await self._permits.another():
            raise NotSent("the quota leaves no room after logging in")
        self._used = False
        return time.monotonic() - began

    async def __call__(self, request: Request, deadline_s: float) -> Reply:
        await self.ready()
        self._used = True
        return await self._transport.exchange(request, deadline_s)


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
        settings, _transport(settings, secrets, address_policy, clock), _scheme(settings, secrets, clock), clock
    )


def _transport(
    settings: ConnectorSettings, secrets: Mapping[str, str], policy: AddressPolicy, clock: Clock
) -> Transport:
    kind, timeouts = settings.transport, settings.policy.timeouts
    if isinstance(kind, MqttSettings):
        return MqttTransport(kind, policy, password=secrets.get("mqtt_password"), connect_s=timeouts.connect_s)
    if isinstance(kind, FileSettings):
        return _files(kind, secrets, policy, timeouts, clock)
    http, plain, layers = plan(kind, secrets, clock)
    inner = http(
        plain,
        policy,
        connections=settings.policy.concurrency,
        connect_s=timeouts.connect_s,
        read_s=timeouts.read_s,
        pool_s=timeouts.pool_s,
        tls_s=timeouts.tls_s,
        write_s=timeouts.write_s,
        tls_key=secrets.get("tls_key"),
    )
    return Layered(inner, layers) if layers else inner


def _files(
    kind: SftpSettings | FolderSettings,
    secrets: Mapping[str, str],
    policy: AddressPolicy,
    timeouts: TimeoutSettings,
    clock: Clock,
) -> Transport:
    # Imported here: few connectors move files, and the SSH library is large.
    from connectors.transports.file_store import FolderStore, Store
    from connectors.transports.files import FilesTransport

    store: Store
    if isinstance(kind, SftpSettings):
        from connectors.transports.sftp import SftpStore

        store = SftpStore(kind, secrets, policy, timeouts.read_s)
    else:
        store = FolderStore(kind.path, policy)
    return FilesTransport(kind, store, connect_s=timeouts.connect_s, clock=clock)


def _scheme(settings: ConnectorSettings, secrets: Mapping[str, str], clock: Clock) -> Scheme:
    return settings.auth.build(secrets, clock)
