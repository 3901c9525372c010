-- Gates that can be asked for what they hold: how, how far the hub has got, and the commands on their way to gates.

-- done_to: everything the device noted before it is stored. A run asks for done_to (less an overlap) up to span_end, page after
-- page; place is where the next page begins, in the family's words, and is written with the page before it.
CREATE TABLE gate_lists (
  device     text PRIMARY KEY REFERENCES devices (id),
  settings   jsonb NOT NULL,
  secrets    bytea,
  done_to    timestamptz NOT NULL,
  span_start timestamptz,
  span_end   timestamptz,
  place      jsonb,
  page       int NOT NULL DEFAULT 0,
  run        bigint NOT NULL DEFAULT 0,
  owner      text,
  until      timestamptz,
  due_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  told_at    timestamptz,
  finished_at timestamptz,
  fault      jsonb,
  faults     int NOT NULL DEFAULT 0,
  listed     bigint NOT NULL DEFAULT 0,
  missed     bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX gate_lists_due ON gate_lists (due_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON gate_lists TO hub_app;

-- A span a gate is asked to send again. state: waiting, sent (the gate has not answered yet), done, failed.
CREATE TABLE gate_commands (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device     text NOT NULL REFERENCES devices (id),
  span_start timestamptz NOT NULL,
  span_end   timestamptz NOT NULL,
  reason     text NOT NULL,
  state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'done', 'failed')),
  tries      int NOT NULL DEFAULT 0,
  due_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at    timestamptz,
  ended_at   timestamptz,
  code       text,
  CHECK (span_end >= span_start)
) WITH (fillfactor = 70);
-- One at a time per gate: a second one is refused by the gate anyway.
CREATE UNIQUE INDEX gate_commands_one ON gate_commands (device) WHERE state = 'sent';
CREATE INDEX gate_commands_open ON gate_commands (due_at) WHERE state IN ('waiting', 'sent');
CREATE INDEX gate_commands_device ON gate_commands (device, id);
GRANT SELECT, INSERT, UPDATE, DELETE ON gate_commands TO hub_app;
