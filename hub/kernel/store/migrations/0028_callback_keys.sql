-- Addresses and signing keys a counterparty was given for its callbacks, by generation; before the first row there is generation
-- 0, of the master key and the connector's name alone. Only what goes into their derivation is kept, and by the connector's name:
-- one made anew under it must not have again what was given away before.
CREATE TABLE callback_keys (
  connector  text NOT NULL,
  generation int NOT NULL CHECK (generation >= 0),
  salt       bytea NOT NULL,
  made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  until      timestamptz,
  PRIMARY KEY (connector, generation)
);
CREATE UNIQUE INDEX callback_keys_present ON callback_keys (connector) WHERE until IS NULL;
GRANT SELECT, INSERT, UPDATE ON callback_keys TO hub_app;
