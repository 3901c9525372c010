-- Look-ups in the population database: what was answered from a kept answer, conversations that go on later, and the
-- verification of whole rosters.

-- Set when an earlier look-up's answer served: no byte left the hub, but somebody looked all the same.
ALTER TABLE lookups ADD COLUMN from_call bigint;
ALTER TABLE lookups ADD CONSTRAINT lookups_accounted CHECK (btrim(purpose) <> '' AND btrim(officer) <> '') NOT VALID;
-- A question asked again as it was sent has its input's hash from the line before.
CREATE INDEX lookups_request ON lookups (request_id);

-- Where the conversation of an open delivery stands. Written with the outcome of each step, gone with the delivery.
CREATE TABLE conversations (
  delivery  bigint PRIMARY KEY,
  connector smallint NOT NULL,
  state     jsonb NOT NULL,
  reference text,
  at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON conversations TO hub_app;

-- One verification: the roster of a school as it stood when it was asked for, question by question.
CREATE TABLE verifications (
  id          bigint PRIMARY KEY,
  digest      uuid UNIQUE,
  body_digest bytea NOT NULL,
  actor       text NOT NULL,
  school      text NOT NULL,
  kind        text NOT NULL,
  purpose     text NOT NULL CHECK (btrim(purpose) <> ''),
  officer     text NOT NULL CHECK (btrim(officer) <> ''),
  state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'cancelled')),
  items       int NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);
CREATE INDEX verifications_school ON verifications (school, id DESC);
-- One at a time: a second one would look the same people up again.
CREATE UNIQUE INDEX verifications_open ON verifications (school, kind) WHERE state = 'open';

-- state: waiting (not asked yet), asked, answered, skipped (cannot be asked about: see reasons), failed (given up), cancelled
CREATE TABLE verification_items (
  verification bigint NOT NULL REFERENCES verifications ON DELETE CASCADE,
  learner      text NOT NULL,
  record       bigint NOT NULL,
  class        smallint NOT NULL,
  state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'asked', 'answered', 'skipped', 'failed', 'cancelled')),
  request      bigint,
  verdict      text,
  differing    text[],
  reasons      text[],
  checked_at   timestamptz,
  PRIMARY KEY (verification, learner)
) WITH (fillfactor = 80);
CREATE INDEX verification_items_open ON verification_items (verification, learner) WHERE state IN ('waiting', 'asked');
GRANT SELECT, INSERT, UPDATE, DELETE ON verifications, verification_items TO hub_app;

-- A roster is read by its school. Learners alone: they are most of the table, and nothing else is asked for so.
CREATE INDEX streams_roster ON streams (school, key) WHERE type = 'learner' AND event <> 'CANCEL';
