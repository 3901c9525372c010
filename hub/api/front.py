"""The application, and the door in front of it for what comes by the thousand: schools' pushes and gates over HTTP.

They are answered before the framework's middleware, routing and parameters, which cost more than the ledger does. One concern:
that short way, and that nothing on it stays unanswered. It must never decide what a request means.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from hub.api import devices, gate_addresses, intake, problems
from hub.api.auth import current_client
from hub.api.problems import Problem
from hub.kernel.ports import Text

_PUSHES = "/v1/messages/"
_METHOD = Text("Địa chỉ này không nhận phương thức đó.", "This address does not take that method.")


class Gateway(FastAPI):
    """The gateway's application."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] == "http":
            path, method = scope["path"], scope["method"]
            if path.startswith(_PUSHES):
                if method == "POST" and "/" not in path[len(_PUSHES) :]:
                    scope["app"] = self
                    await _answered(Request(scope, receive), send, path[len(_PUSHES) :])
                    return
            elif path.startswith(gate_addresses.ROOTS) and (caller := gate_addresses.caller(path)) is not None:
                scope["app"], scope["route"] = self, caller
                await _answered(Request(scope, receive), send, caller)
                return
        await super().__call__(scope, receive, send)


async def _answered(request: Request, send: Any, asked: str | gate_addresses.Caller) -> None:
    """Answer a push (`asked`: the record type) or a gate; whatever happens, somebody is told."""
    try:
        response: Response
        if isinstance(asked, str):
            response = await intake.push(request, asked, await current_client(request))
        elif request.method in asked.says:
            response = await devices.answer(request, asked)
        else:
            raise Problem(405, "http_405", _METHOD, headers={"Allow": ", ".join(sorted(asked.says))})
    except Problem as problem:
        response = problems.response(request, problem)
    except intake.AWAY:
        response = problems.response(request, intake.busy())
    except ClientDisconnect:
        # Nobody is there to be answered; what was given to the ledger is stored all the same.
        return
    except Exception as error:
        response = problems.broken(request, error)
    await response(request.scope, request.receive, send)
