-- A quota is shared out among the workers at it: each may have so many calls on the wire or answered within the last
-- second. The shares that stand never add up to more than the quota, so no second of the counterparty's holds more.
CREATE TABLE quota_shares (
  connector smallint NOT NULL REFERENCES connectors,
  worker    text NOT NULL,
  share     int NOT NULL CHECK (share >= 0),
  until     timestamptz NOT NULL,
  PRIMARY KEY (connector, worker)
) WITH (fillfactor = 50);
ALTER TABLE quotas DROP COLUMN next_slot;

-- What one school owes one connector rests until a person has looked: too much of it was refused. '' stands for records
-- of no school. Its ready deliveries are set aside behind all others by their rank, a few thousand at a time.
CREATE TABLE paused_shares (
  connector smallint NOT NULL REFERENCES connectors,
  school    text NOT NULL,
  cause     text NOT NULL,
  message   jsonb NOT NULL,
  paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (connector, school)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON quota_shares, paused_shares TO hub_app;
