-- What others asked and were answered: written before the answer leaves. The input only as a keyed hash.
CREATE TABLE queries (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  name       text NOT NULL,
  client     text NOT NULL,
  asker      text NOT NULL,
  officer    text NOT NULL CHECK (officer <> ''),
  purpose    text NOT NULL CHECK (purpose <> ''),
  request_id text NOT NULL,
  input_hash bytea NOT NULL,
  school     text,
  found      boolean NOT NULL
);
CREATE INDEX queries_at ON queries USING brin (at);

-- Which subsystem of the exchange may ask what, about which schools.
CREATE TABLE query_grants (
  subsystem  text NOT NULL,
  name       text NOT NULL,
  scope_kind text NOT NULL DEFAULT 'department' CHECK (scope_kind IN ('department', 'ward', 'school')),
  scope_code text,
  actor      text NOT NULL,
  at         timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (subsystem, name)
);
GRANT SELECT, INSERT ON queries TO hub_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON query_grants TO hub_app;
