"""The store: migrations, named SQL and the connection pool. The only place with state-changing SQL."""
