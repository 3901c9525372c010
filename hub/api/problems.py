"""RFC 9457 problems, each sentence in Vietnamese and English.

`title` and `detail` follow the request's Accept-Language (Vietnamese unless English is asked for); `texts` always holds
both. A problem must never repeat a secret or a personal value.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from hub.kernel.ports import Reject, Text
from hub.kernel.store.db import UNWRITABLE

log = logging.getLogger("hub.api")

_INTERNAL = Text(
    "Có lỗi phía máy chủ; hãy thử lại. Nếu vẫn lỗi, báo cho người vận hành.",
    "Something broke on our side; please try again. If it stays, tell the operators.",
)

_UNREADABLE = Text(
    "Yêu cầu có ký tự không phải chữ viết (NUL).",
    "The request holds a character that is no text (NUL).",
)

_TITLES: dict[int, Text] = {
    400: Text("Không đọc được nội dung", "The body cannot be read"),
    401: Text("Chưa xác thực", "Not authenticated"),
    403: Text("Không đủ quyền", "Not allowed"),
    404: Text("Không tìm thấy", "Not found"),
    405: Text("Phương thức không được hỗ trợ", "Method not allowed"),
    409: Text("Xung đột trạng thái", "Conflict"),
    411: Text("Thiếu độ dài", "Length required"),
    413: Text("Nội dung quá lớn", "Body too large"),
    415: Text("Định dạng không được hỗ trợ", "Unsupported media type"),
    422: Text("Nội dung không hợp lệ", "The content is not valid"),
    429: Text("Gửi quá nhanh", "Too many requests"),
    500: Text("Lỗi nội bộ", "Internal error"),
    503: Text("Tạm thời chưa phục vụ được", "Temporarily unavailable"),
}


class Problem(Exception):
    """Yêu cầu bị từ chối với lý do rõ ràng. / A request refused, with the reason as it will be told."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: Text,
        *,
        errors: Sequence[Reject] = (),
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail.en)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.more = more


def _language(request: Request) -> str:
    header = request.headers.get("accept-language", "").lower()
    return "en" if header.startswith("en") else "vi"


def error_list(rejects: Sequence[Reject]) -> list[dict[str, Any]]:
    """Rejects as the API shows them: pointer, code, both sentences."""
    return [{"pointer": r.pointer, "code": r.code, "vi": r.message.vi, "en": r.message.en} for r in rejects]


def response(request: Request, problem: Problem) -> Response:
    """The problem as application/problem+json."""
    language = _language(request)
    title = _TITLES.get(problem.status, _TITLES[500])
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": getattr(title, language),
        "status": problem.status,
        "detail": getattr(problem.detail, language),
        "code": problem.code,
        "texts": {"vi": problem.detail.vi, "en": problem.detail.en},
        **problem.more,
    }
    if problem.errors:
        body["errors"] = error_list(problem.errors)
    headers = {"Content-Language": language, "Cache-Control": "no-store", **problem.headers}
    return Response(msgspec.json.encode(body), problem.status, headers, media_type="application/problem+json")


def _route(request: Request) -> str:
    """A request's address as the application declares it: the one that was asked may hold a secret, or the very text."""
    return str(getattr(request.scope.get("route"), "path", "-"))


def broken(request: Request, error: Exception) -> Response:
    """The answer to what nobody foresaw."""
    # The reason is for the log alone: it may name tables, files or values.
    log.error("%s %s: %s", request.method, _route(request), type(error).__name__, exc_info=error)
    return response(request, Problem(500, "internal", _INTERNAL))


def unwritable(request: Request, error: Exception) -> None:
    """Tell the log of what the database refused as no text, which is the request's fault or ours: never the text itself."""
    log.warning("%s %s: the database took it for no text: %s", request.method, _route(request), type(error).__name__)


def install(app: FastAPI) -> None:
    """Make every refusal of the application a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return response(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        rejects = [
            Reject(
                pointer="/" + "/".join(str(p) for p in e["loc"]), code=e["type"],
                message=Text(f"Tham số không hợp lệ: {e['msg']}", f"Invalid parameter: {e['msg']}"),
            )
            for e in error.errors()
        ]  # fmt: skip
        text = Text("Tham số của yêu cầu không hợp lệ.", "The request's parameters are not valid.")
        return response(request, Problem(422, "invalid_parameters", text, errors=rejects))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        title = _TITLES.get(error.status_code, _TITLES[500])
        return response(
            request, Problem(error.status_code, f"http_{error.status_code}", title, headers=dict(error.headers or {}))
        )

    async def _unwritable(request: Request, error: Exception) -> Response:
        unwritable(request, error)
        return response(request, Problem(422, "unreadable_text", _UNREADABLE))

    for kind in UNWRITABLE:
        app.add_exception_handler(kind, _unwritable)

    @app.exception_handler(Exception)
    async def _broken(request: Request, error: Exception) -> Response:
        return broken(request, error)
