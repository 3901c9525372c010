-- Filings as they stand, what was heard of them that fits nowhere, lists pulled from counterparties, documents kept.

-- One row per filing: its present state and the time promised. Written with the record that says so.
CREATE TABLE filings (
  number       text PRIMARY KEY,
  school       text,
  agency       text NOT NULL,
  procedure    text NOT NULL,
  title        text NOT NULL,
  state        smallint NOT NULL CHECK (state BETWEEN 1 AND 10),
  since        timestamptz NOT NULL,
  said_by      text NOT NULL DEFAULT 'agency' CHECK (said_by IN ('agency', 'portal')),
  submitted_at timestamptz NOT NULL,
  due_at       timestamptz,
  department   text,
  step_at      timestamptz,
  paid         bigint NOT NULL DEFAULT 0,
  touched_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
CREATE INDEX filings_due ON filings (due_at, number);
CREATE INDEX filings_submitted ON filings (submitted_at DESC, number);

-- What a counterparty told about filings the hub does not know, or that does not follow: kept for a person.
CREATE TABLE filing_inbox (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  number     text NOT NULL,
  message    bigint NOT NULL,
  reason     text NOT NULL CHECK (reason IN ('unknown_filing', 'state_not_allowed')),
  text       jsonb NOT NULL,
  state      smallint NOT NULL,
  at         timestamptz NOT NULL,
  department text,
  due_at     timestamptz,
  paid       bigint NOT NULL DEFAULT 0,
  opened_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at  timestamptz,
  resolution text CHECK (resolution IN ('followed', 'applied', 'dismissed')),
  actor      text,
  why        text
);
CREATE INDEX filing_inbox_open ON filing_inbox (number) WHERE closed_at IS NULL;

-- One row per list pulled: the cursor, and where the run under way stands. A page's records and its cursor are one commit.
CREATE TABLE pulls (
  connector   smallint NOT NULL REFERENCES connectors,
  what        text NOT NULL,
  cursor      text,
  run         int NOT NULL DEFAULT 0,
  key         text,
  state       text NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'running', 'done', 'failed')),
  page        int NOT NULL DEFAULT 0,
  next        jsonb,
  owner       text,
  until       timestamptz,
  whole       boolean NOT NULL DEFAULT false,
  records     bigint NOT NULL DEFAULT 0,
  unchanged   bigint NOT NULL DEFAULT 0,
  rejected    bigint NOT NULL DEFAULT 0,
  changes     bigint NOT NULL DEFAULT 0,
  fault       jsonb,
  started_at  timestamptz,
  finished_at timestamptz,
  PRIMARY KEY (connector, what)
) WITH (fillfactor = 50);
-- The entries of complete lists as last seen, so that what is missing from a new one is known to be gone.
CREATE TABLE pulled_entries (
  connector  smallint NOT NULL,
  what       text NOT NULL,
  key        text NOT NULL,
  body       jsonb NOT NULL,
  run        int NOT NULL,
  gone_at    timestamptz,
  PRIMARY KEY (connector, what, key)
);
CREATE TABLE pulled_changes (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  connector smallint NOT NULL,
  what      text NOT NULL,
  key       text NOT NULL,
  run       int NOT NULL,
  kind      text NOT NULL CHECK (kind IN ('added', 'changed', 'removed', 'returned')),
  before    jsonb,
  after     jsonb,
  at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX pulled_changes_of ON pulled_changes (connector, what, id DESC);

-- Documents, encrypted in pieces. `name` is sealed; `digest` is a keyed hash of the whole.
CREATE TABLE files (
  id           uuid PRIMARY KEY,
  source       int NOT NULL,
  school       text,
  content_type text NOT NULL,
  bytes        bigint NOT NULL,
  piece        int NOT NULL,
  digest       bytea NOT NULL,
  name         bytea NOT NULL,
  kept_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  linked_at    timestamptz,
  erased_at    timestamptz
);
CREATE INDEX files_unlinked ON files (kept_at) WHERE linked_at IS NULL AND erased_at IS NULL;
CREATE TABLE file_pieces (
  file   uuid NOT NULL,
  number int NOT NULL,
  data   bytea NOT NULL,
  PRIMARY KEY (file, number)
);
-- Encrypted bytes do not compress.
ALTER TABLE file_pieces ALTER COLUMN data SET STORAGE EXTERNAL;

-- Filings taken before this table was made: as their current records have them. A time without an offset is local.
SET LOCAL timezone = 'Asia/Ho_Chi_Minh';
INSERT INTO filings (number, school, agency, procedure, title, state, since, submitted_at, due_at)
SELECT s.key, s.school, r.body ->> 'agency', r.body ->> 'procedure_code', r.body ->> 'procedure_name',
       CASE WHEN r.event = 'CANCEL' THEN 7 ELSE (r.body -> 'status' ->> 'canonical')::smallint END, r.updated_at,
       (r.body ->> 'submitted_at')::timestamptz, (r.body ->> 'due_at')::timestamptz
FROM streams s JOIN records r ON r.id = s.record AND r.class = 3
WHERE s.type = 'filing' AND r.body ?& ARRAY['agency', 'procedure_code', 'procedure_name', 'submitted_at']
  AND r.body -> 'status' ->> 'canonical' ~ '^([1-9]|10)$';

GRANT SELECT ON filings, filing_inbox, pulls, pulled_entries, pulled_changes, files, file_pieces TO hub_app;
GRANT INSERT, UPDATE ON filings, filing_inbox, pulls, pulled_entries, files TO hub_app;
GRANT INSERT ON pulled_changes TO hub_app;
GRANT INSERT, DELETE ON file_pieces TO hub_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA hub TO hub_app;
