"""The processes that work off the ledger: dispatch, recovery, housekeeping, and the bridge to the devices' broker."""
