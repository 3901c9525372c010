-- What calls were mapped by, under the hash of its content: a version's document (`calls.mapping` ends with its SHA-256), the field map,
-- tables and approved entries it names. Written before the first call that says so, never changed; equal content is kept once.
CREATE TABLE mappings (
  digest  bytea PRIMARY KEY,
  content bytea NOT NULL,
  at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT ON mappings TO hub_app;
