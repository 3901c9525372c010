"""The console's pages, one module each: they read through the store's named queries and order through the ledger."""
