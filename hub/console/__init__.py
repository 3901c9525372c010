"""The console: server-rendered pages for the people who run the hub. It reads, and hands orders to the ledger; it never
writes by itself, and shows personal data only masked unless a purpose was stated and journaled."""

from hub.console.site import heard, mount, router

__all__ = ["heard", "mount", "router"]
