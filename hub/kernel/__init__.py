"""The kernel: ports, lifecycle, ledger, intake, routing. It knows no protocol and no counterparty."""
