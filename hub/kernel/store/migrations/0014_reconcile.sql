-- Reconciliations: what the school has, what the hub has and what a counterparty has, compared as hashes. One row a run, found
-- by its key; the cursors say how far each side has been gathered, so that a kill leaves a place to go on from.
CREATE TABLE reconciliations (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key          text NOT NULL UNIQUE,
  connector    smallint NOT NULL REFERENCES connectors,
  type         text NOT NULL,
  school       text,
  actor        text NOT NULL,
  state        text NOT NULL DEFAULT 'gathering' CHECK (state IN ('gathering', 'compared', 'repaired')),
  ours_after   text NOT NULL DEFAULT '',
  ours_done    boolean NOT NULL DEFAULT false,
  ours_rows    bigint NOT NULL DEFAULT 0,
  theirs_after text,
  theirs_done  boolean NOT NULL DEFAULT false,
  theirs_rows  bigint NOT NULL DEFAULT 0,
  unread       bigint NOT NULL DEFAULT 0,
  begun_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  compared_at  timestamptz,
  repaired_at  timestamptz
);

-- Both sides while they are gathered: emptied by the comparison. Unlogged: a crash of the database empties it, which the
-- comparison sees by the counts above, and the sides are gathered anew.
CREATE UNLOGGED TABLE reconcile_rows (
  run     bigint NOT NULL,
  side    smallint NOT NULL CHECK (side IN (1, 2)),
  school  text NOT NULL,
  class   text NOT NULL,
  key     text NOT NULL,
  version int NOT NULL,
  h1      bigint,
  h2      bigint
);
CREATE INDEX reconcile_rows_run ON reconcile_rows USING brin (run);

CREATE TABLE reconcile_groups (
  run    bigint NOT NULL REFERENCES reconciliations ON DELETE CASCADE,
  school text NOT NULL,
  class  text NOT NULL,
  ours   int NOT NULL,
  theirs int NOT NULL,
  same   boolean NOT NULL,
  PRIMARY KEY (run, school, class)
);

CREATE TABLE reconcile_differences (
  run    bigint NOT NULL REFERENCES reconciliations ON DELETE CASCADE,
  side   text NOT NULL CHECK (side IN ('school', 'counterparty')),
  school text NOT NULL,
  class  text NOT NULL,
  key    text NOT NULL,
  kind   text NOT NULL CHECK (kind IN ('missing_here', 'missing_there', 'differs')),
  ours   int,
  theirs int,
  action text NOT NULL CHECK (action IN ('send', 'cancel', 'person', 'on_its_way', 'school')),
  done   text CHECK (done IN ('queued', 'on_its_way', 'unmapped', 'expired')),
  PRIMARY KEY (run, side, key)
);
CREATE INDEX reconcile_differences_left ON reconcile_differences (run, key) WHERE done IS NULL AND action IN ('send', 'cancel');

-- The last full roster a school showed for comparison: hashes of canonical content, nothing else of anybody.
CREATE TABLE rosters (
  type   text NOT NULL,
  school text NOT NULL,
  client text NOT NULL,
  count  int NOT NULL,
  at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (type, school)
);
CREATE TABLE roster_rows (
  type    text NOT NULL,
  school  text NOT NULL,
  class   text NOT NULL,
  key     text NOT NULL,
  content bytea NOT NULL,
  PRIMARY KEY (type, school, key),
  FOREIGN KEY (type, school) REFERENCES rosters ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON reconciliations, reconcile_rows, reconcile_groups, reconcile_differences, rosters, roster_rows
  TO hub_app;
