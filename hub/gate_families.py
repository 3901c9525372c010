"""What the families of gates declare of themselves that a registration rests on: whose their person numbers are.

One concern: looking that up by family and profile. It must never say the department's codes of a family it does not know.
"""

from __future__ import annotations

from functools import cache

from hub.kernel.ledger.gate_ids import OWN
from iot.profiles import Profiles


@cache
def _profiles() -> dict[str, Profiles]:
    from iot.dahua import listing as dahua
    from iot.face_http import decode as face_http
    from iot.face_mqtt import decode as face_mqtt
    from iot.hanet import decode as hanet
    from iot.hikvision import decode as hikvision
    from iot.native import decode as native
    from iot.zkteco import decode as zkteco

    return {
        "dahua": dahua.PROFILES,
        "face_http": face_http.PROFILES,
        "face_mqtt": face_mqtt.PROFILES,
        "hanet": hanet.PROFILES,
        "hikvision": hikvision.PROFILES,
        "native": native.PROFILES,
        "zkteco": zkteco.PROFILES,
    }


def person_ids(family: str, profile: str) -> str:
    """Whose the person numbers of such a gate are unless its registration says otherwise (see `gate_ids`)."""
    known = _profiles().get(family)
    return known.get(profile).person_ids if known is not None else OWN
