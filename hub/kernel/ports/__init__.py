"""The shapes at the hub's edges: what adapters, device families and connectors give and get.

One concern: types and protocols shared by siblings that never import one another. It must never import anything
of the project, open a socket, read a clock or hold a secret. All times are timezone-aware `datetime` unless a
field's name says otherwise; all bodies are `bytes`.
"""

from hub.kernel.ports.adapters import (
    Adapter,
    Connector,
    Converser,
    Decoder,
    GroupConverser,
    Inquirer,
    MaybeSent,
    NotSent,
    Pulled,
    Puller,
)
from hub.kernel.ports.calls import (
    BATCH_MAX,
    Call,
    InProgress,
    NeedsPerson,
    NeverTry,
    Outcome,
    Outgoing,
    Reading,
    Receipt,
    Reply,
    Settlement,
    TryLater,
    Unknown,
)
from hub.kernel.ports.devices import (
    COMMANDS_USER,
    LEFT_OUT,
    NO_PROPERTIES,
    PROBE,
    Decoded,
    DeviceFamily,
    Numbers,
    Publication,
    Sighting,
)
from hub.kernel.ports.messages import Draft, Event, Hasher, Inbound, Reject, Text, said
from hub.kernel.ports.removed import Purpose, Removed, purpose_of
from hub.kernel.ports.workbooks import Book, BookRefused, BookRow, Workbooks

__all__ = [
    "BATCH_MAX",
    "COMMANDS_USER",
    "LEFT_OUT",
    "NO_PROPERTIES",
    "PROBE",
    "Adapter",
    "Book",
    "BookRefused",
    "BookRow",
    "Call",
    "Connector",
    "Converser",
    "Decoded",
    "Decoder",
    "DeviceFamily",
    "Draft",
    "Event",
    "GroupConverser",
    "Hasher",
    "InProgress",
    "Inbound",
    "Inquirer",
    "MaybeSent",
    "NeedsPerson",
    "NeverTry",
    "NotSent",
    "Numbers",
    "Outcome",
    "Outgoing",
    "Publication",
    "Pulled",
    "Puller",
    "Purpose",
    "Reading",
    "Receipt",
    "Reject",
    "Removed",
    "Reply",
    "Settlement",
    "Sighting",
    "Text",
    "TryLater",
    "Unknown",
    "Workbooks",
    "purpose_of",
    "said",
]
