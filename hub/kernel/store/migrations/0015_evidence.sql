-- What lets a single message or outcome be shown to be in the journal without telling of those beside it: the hashes the
-- entry's root is made of, in the order of its ids. And the chain's daily anchors.
ALTER TABLE journal ADD COLUMN leaves bytea;
ALTER TYPE intake_line ADD ATTRIBUTE leaves bytea;
-- What the bytes were, once they have expired.
ALTER TABLE messages ADD COLUMN body_hash bytea;
GRANT UPDATE (body_hash) ON messages TO hub_app;

CREATE TABLE anchors (
  day   date PRIMARY KEY,
  seal  bigint NOT NULL UNIQUE,
  chain bytea NOT NULL,
  at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT ON anchors TO hub_app;
