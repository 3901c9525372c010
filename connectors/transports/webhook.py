"""Webhooks out: a call as an HTTP POST a subscriber can recognise when it comes twice.

One concern: the id of a delivery on its request, and a subscriber's wish to get no more. It must never sign (the scheme
`standard_webhooks` does) and never give two deliveries one id.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from connectors.auth.standard_webhooks import ID_HEADER
from connectors.errors import EndpointGone
from connectors.transports.base import Request
from connectors.transports.rest import HttpSettings, RestTransport
from hub.kernel.ports import Call, NotSent, Reply, Text

CAPABILITIES = frozenset({"http", "headers", "status", "tls", "webhook"})


class WebhookSettings(HttpSettings):
    """Webhooks to one subscriber's address."""

    ABOUT = Text("Webhook tới bên nhận", "Webhook to a subscriber")
    kind: Literal["webhook"] = "webhook"


class WebhookTransport(RestTransport):
    """A call's `webhook-id` header if it has one, else an id made of its deliveries: the same at every try."""

    def request(self, call: Call) -> Request:
        """The request with its id. The base address is the subscriber's own: a call's path is put under it."""
        request = super().request(call)
        if call.body and not any(n.lower() == ID_HEADER for n in request.headers):
            request.headers = {**request.headers, ID_HEADER: id_of(call)}
        return request


class Gone:
    """See `connectors.transports.layers.Layer`: 410 means the subscriber wants nothing more."""

    under: str | None = None

    def wrap(self, request: Request, memory: dict[str, Any]) -> None:
        """Nothing to add."""

    def unwrap(self, sent: Request, memory: dict[str, Any], reply: Reply) -> Reply:
        """The reply; `EndpointGone` for a 410."""
        if reply.status == 410:
            raise EndpointGone("the subscriber answered 410 Gone")
        return reply


def id_of(call: Call) -> str:
    """`msg_<delivery>`, or the deliveries' digest where a call carries several. Raises `NotSent` when it has none."""
    if not call.deliveries:
        raise NotSent("a webhook call without deliveries needs a webhook-id header of its own")
    if len(call.deliveries) == 1:
        return f"msg_{call.deliveries[0]}"
    every = ",".join(map(str, sorted(call.deliveries))).encode()
    return f"msg_{len(call.deliveries)}_{hashlib.sha256(every).hexdigest()[:32]}"
