"""The gateway's HTTP faces: REST intake, receipts, control. They translate and authorise; the ledger decides."""
