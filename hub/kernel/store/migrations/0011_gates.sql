-- The registry of gates: what each one is, where it stood from when, how it is let in, what was done with it.

-- `generation` counts secrets; while a rotation overlaps, the one before opens too (`old_secret` until `old_until`).
ALTER TABLE devices
  ADD COLUMN serial      text CHECK (serial <> ''),
  ADD COLUMN model       text NOT NULL DEFAULT '',
  ADD COLUMN generation  int NOT NULL DEFAULT 1,
  ADD COLUMN old_secret  bytea,
  ADD COLUMN old_until   timestamptz,
  ADD COLUMN replaced_by text REFERENCES devices (id);
CREATE UNIQUE INDEX devices_serial ON devices (family, serial) WHERE serial IS NOT NULL AND state = 'active';

-- Where a gate stood from when: its place at a moment is the newest line (by since, then id) that began by then. A gate that
-- never moved has none: it stands where `devices` says.
CREATE TABLE gate_places (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device    text NOT NULL REFERENCES devices (id),
  school    text NOT NULL REFERENCES schools,
  entrance  text NOT NULL,
  direction text NOT NULL CHECK (direction IN ('in', 'out', 'unknown')),
  since     timestamptz NOT NULL,
  actor     text NOT NULL,
  why       text NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gate_places_device ON gate_places (device, since, id);

-- One-time codes: only a keyed hash is kept. A new one for a gate ends those before it.
CREATE TABLE gate_codes (
  hash       bytea PRIMARY KEY,
  device     text NOT NULL REFERENCES devices (id),
  actor      text NOT NULL,
  made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at    timestamptz
);
CREATE INDEX gate_codes_device ON gate_codes (device) WHERE used_at IS NULL;

CREATE TABLE gate_history (
  id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device text NOT NULL REFERENCES devices (id),
  at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor  text NOT NULL,
  kind   text NOT NULL,
  data   jsonb NOT NULL
);
CREATE INDEX gate_history_device ON gate_history (device, id);

-- A look at what one gate sends, for a while. Ends by itself: by time, and by lines.
CREATE TABLE gate_traces (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device     text NOT NULL REFERENCES devices (id),
  actor      text NOT NULL,
  purpose    text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  until      timestamptz NOT NULL,
  most       int NOT NULL CHECK (most BETWEEN 1 AND 1000)
);
CREATE INDEX gate_traces_device ON gate_traces (device, until);
CREATE TABLE gate_trace_lines (
  id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  trace bigint NOT NULL REFERENCES gate_traces (id) ON DELETE CASCADE,
  at    timestamptz NOT NULL,
  line  jsonb NOT NULL
);
CREATE INDEX gate_trace_lines_trace ON gate_trace_lines (trace, id);

GRANT SELECT, INSERT ON gate_places, gate_codes, gate_history TO hub_app;
GRANT UPDATE (expires_at, used_at) ON gate_codes TO hub_app;
GRANT SELECT, INSERT, DELETE ON gate_traces, gate_trace_lines TO hub_app;
GRANT UPDATE (until) ON gate_traces TO hub_app;
