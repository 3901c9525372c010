"""Signatures of outgoing webhooks as Standard Webhooks has them.

One concern: `webhook-timestamp` and `webhook-signature` over the request's `webhook-id` and body, with the new secret
and, while a subscriber changes over, the old one too. It must never show a secret or sign a request without an id:
the id, stable per delivery, is what lets the subscriber recognise a repeat.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from connectors.auth.base import Clock, Exchange, Stateless
from connectors.auth.fixed import with_headers
from connectors.declare import Declared, Secret
from connectors.errors import SettingError, SettingsInvalid
from connectors.transports.base import Request
from hub.kernel.ports import NotSent, Text

_SECRET_TITLE = Text("Khóa ký webhook (whsec_…)", "Webhook signing secret (whsec_…)")
_OLD_TITLE = Text("Khóa ký cũ, khi đang đổi khóa", "Previous signing secret, during a rotation")
if TYPE_CHECKING:
    from standardwebhooks import Webhook

ID_HEADER = "webhook-id"
_LEAST, _MOST = 24, 64
"""Bytes a secret may have, as the specification recommends."""


class StandardWebhooksSettings(Declared):
    """HMAC-SHA256 over id, timestamp and body. A second secret signs as well while it is set."""

    ABOUT = Text("Chữ ký Standard Webhooks", "Standard Webhooks signature")
    SECRETS = (
        Secret(name="webhook_secret", title=_SECRET_TITLE),
        Secret(name="webhook_secret_previous", title=_OLD_TITLE, required=False),
    )
    scheme: Literal["standard_webhooks"] = "standard_webhooks"

    def build(self, secrets: Mapping[str, str], clock: Clock) -> StandardWebhooks:
        """The scheme, ready for use. Raises `SettingsInvalid` for a secret that is none."""
        names = ("webhook_secret", "webhook_secret_previous")
        return StandardWebhooks([_signer(n, secrets[n]) for n in names if secrets.get(n)], clock)


class StandardWebhooks(Stateless):
    """See `connectors.auth.base.Scheme`."""

    def __init__(self, signers: list[Webhook], clock: Clock) -> None:
        self._signers = signers
        self._clock = clock

    def __repr__(self) -> str:
        return f"StandardWebhooks({len(self._signers)} secrets)"

    async def sign(self, request: Request, exchange: Exchange, deadline_s: float) -> Request:
        """The request signed for this very moment, under the id it carries."""
        id_ = next((v for n, v in request.headers.items() if n.lower() == ID_HEADER), None)
        if not id_ and not request.body:
            return request  # the live test's GET: no webhook
        if not id_:
            raise NotSent("a webhook needs an id: use the transport kind webhook")
        try:
            body = request.body.decode()
        except UnicodeDecodeError:
            raise NotSent("a webhook's body must be UTF-8 text") from None
        now = datetime.fromtimestamp(int(self._clock()), UTC)
        signatures = " ".join(s.sign(msg_id=id_, timestamp=now, data=body) for s in self._signers)
        return with_headers(request, {"webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signatures})


def _signer(name: str, secret: str) -> Webhook:
    from standardwebhooks import Webhook  # here: connectors without webhooks need none of it

    try:
        text = secret.removeprefix("whsec_")
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        key = b""
    if not _LEAST <= len(key) <= _MOST:
        message = Text(
            f"“{_SECRET_TITLE.vi}” phải là whsec_ và {_LEAST}–{_MOST} byte viết base64",
            f"“{_SECRET_TITLE.en}” must be whsec_ and {_LEAST}–{_MOST} bytes in base64",
        )
        raise SettingsInvalid([SettingError(pointer=f"/secrets/{name}", code="webhook_secret", message=message)])
    return Webhook(key)
