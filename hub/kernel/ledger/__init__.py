"""The ledger: every change of durable state, in transactions whose halves cannot be seen. It calls the store, nobody else does."""
