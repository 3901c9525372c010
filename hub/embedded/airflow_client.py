"""The hub's client of Airflow's API.

One concern: trigger a run exactly once by its id, and show what runs and how Airflow is. It must never import Airflow,
nor be needed for the hub to be right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import aiohttp

from hub.embedded.airflow_link import Link


class AirflowUnavailable(Exception):
    """Airflow không trả lời. / Airflow does not answer; the hub's own ticker goes on without it."""

    def __str__(self) -> str:
        return f"{self.__doc__} {self.args[0] if self.args else ''}".strip()


class AirflowRefused(Exception):
    """Airflow từ chối yêu cầu. / Airflow refused the request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status

    def __str__(self) -> str:
        return f"{self.__doc__} (HTTP {self.args[0]}: {self.args[1][:300]})"


class AirflowClient:
    """An async context manager. Every method raises `AirflowUnavailable` or `AirflowRefused`."""

    def __init__(self, link: Link, *, timeout_s: float = 5.0) -> None:
        self._link = link
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back sockets."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any], logical_date: datetime | None = None
    ) -> Literal["created", "exists"]:
        """Start a run named `run_id`; a repeat says `exists` and starts nothing."""
        path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"
        when = (logical_date or datetime.now(UTC)).isoformat()
        body = {"dag_run_id": run_id, "conf": dict(conf), "logical_date": when}
        try:
            await self._call("POST", path, body)
        except AirflowRefused as refused:
            if refused.status != 409:
                raise
            # 409 is also the answer to another run's logical date: only the run itself proves that it is there.
            try:
                await self._call("GET", f"{path}/{quote(run_id, safe='')}")
            except AirflowRefused as missing:
                if missing.status != 404:
                    raise
                await self._call("POST", path, {**body, "logical_date": None})
                return "created"
            return "exists"
        return "created"

    async def runs(self, limit: int = 50, dag_id: str = "~") -> list[dict[str, Any]]:
        """The latest runs, newest first, as Airflow has them (`dag_id`, `dag_run_id`, `state`, `start_date` …)."""
        path = f"/api/v2/dags/{quote(dag_id, safe='~')}/dagRuns?order_by=-run_after&limit={limit}"
        return list((await self._call("GET", path))["dag_runs"])

    async def dags(self, limit: int = 100) -> list[dict[str, Any]]:
        """The DAGs known, as Airflow has them (`dag_id`, `is_paused`, `next_dagrun_run_after` …)."""
        return list((await self._call("GET", f"/api/v2/dags?limit={limit}"))["dags"])

    async def health(self) -> dict[str, str]:
        """`{metadatabase, scheduler, triggerer, dag_processor: healthy|unhealthy|unknown}`; needs no login."""
        found = await self._request("GET", "/api/v2/monitor/health", None, None)
        return {name: str((part or {}).get("status") or "unknown") for name, part in found.items()}

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        token = self._token or await self._new_token(None)
        try:
            return await self._request(method, path, body, token)
        except AirflowRefused as refused:
            if refused.status != 401:  # an expired token: the only refusal worth one more try
                raise
        return await self._request(method, path, body, await self._new_token(token))

    async def _new_token(self, spent: str | None) -> str:
        async with self._login:
            if self._token is None or self._token == spent:
                login = {"username": self._link.username, "password": self._link.password}
                self._token = str((await self._request("POST", "/auth/token", login, None))["access_token"])
            return self._token

    async def _request(self, method: str, path: str, body: Any, token: str | None) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._session.request(method, self._link.url + path, json=body, headers=headers) as reply:
                if reply.status >= 500:
                    raise AirflowUnavailable(f"HTTP {reply.status}")
                if reply.status >= 400:
                    raise AirflowRefused(reply.status, await reply.text())
                return await reply.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise AirflowUnavailable(type(error).__name__) from error
