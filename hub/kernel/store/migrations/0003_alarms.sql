-- Alarms: said once when something begins, once when it ends.
CREATE TABLE alarms (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind       text NOT NULL,
  subject    text NOT NULL,
  text       jsonb NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at   timestamptz
);
CREATE UNIQUE INDEX alarms_open ON alarms (kind, subject) WHERE ended_at IS NULL;
GRANT SELECT, INSERT, UPDATE ON alarms TO hub_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA hub TO hub_app;
-- What people did, for the audit page: few lines, apart from the many about batches.
CREATE INDEX journal_people ON journal (id) WHERE ids IS NULL AND class = 3;
