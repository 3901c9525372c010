-- The ledger. Run by hub_owner; the hub works as hub_app, which the grants below hold to what it may do.
--
-- Ids are bigints made of (days since 2020-01-01 UTC by the database's clock) << 37 | a running number: an id alone tells
-- its partition, stays exact in JSON numbers (53 bits) and sorts by day. Identity order is never taken for commit order.

CREATE SEQUENCE ids INCREMENT BY 1000;
CREATE SEQUENCE delivery_seq;

-- What each small number in the wide tables stands for. Appended to, never renumbered.
CREATE TABLE sources (
  id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind   text NOT NULL CHECK (kind IN ('client', 'device', 'connector', 'operator')),
  name   text NOT NULL,
  UNIQUE (kind, name)
);

CREATE TABLE schools (
  code    text PRIMARY KEY,
  name    text NOT NULL,
  ward    text NOT NULL,
  level   text,
  since   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE connectors (
  id            smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name          text NOT NULL UNIQUE,
  system        text NOT NULL,
  settings      jsonb NOT NULL,
  secrets       bytea,
  revision      int NOT NULL DEFAULT 1,
  state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
  pause_cause   text,
  pause_message jsonb,
  paused_at     timestamptz,
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE connector_revisions (
  connector smallint NOT NULL REFERENCES connectors,
  revision  int NOT NULL,
  settings  jsonb NOT NULL,
  actor     text NOT NULL,
  at        timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (connector, revision)
);
-- Quota in the counterparty's own window: the next free slot by the database's clock, and the day's count.
CREATE TABLE quotas (
  connector smallint PRIMARY KEY REFERENCES connectors,
  next_slot timestamptz NOT NULL DEFAULT now(),
  day       date NOT NULL DEFAULT current_date,
  day_used  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
-- Who leads the recovery of a connector, by epoch. A stale epoch is refused.
CREATE TABLE recoveries (
  connector  smallint PRIMARY KEY REFERENCES connectors,
  epoch      int NOT NULL DEFAULT 0,
  state      text NOT NULL DEFAULT 'idle' CHECK (state IN ('idle', 'open')),
  owner      text,
  until      timestamptz,
  opened_at  timestamptz,
  reason     text,
  step       int NOT NULL DEFAULT 0,
  released   bigint NOT NULL DEFAULT 0,
  triggered  boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20);

-- Idempotent receiver. Unpartitioned, with a retention of its own. The digest covers source and key.
CREATE TABLE intake_keys (
  digest      uuid PRIMARY KEY,
  message     bigint NOT NULL,
  body_digest bytea NOT NULL,
  at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX intake_keys_at ON intake_keys USING brin (at);

CREATE TABLE uploads (
  id          bigint PRIMARY KEY,
  digest      uuid UNIQUE,
  source      int NOT NULL,
  type        text NOT NULL,
  school      text,
  started_at  timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);

CREATE TABLE messages (
  id           bigint NOT NULL,
  class        smallint NOT NULL,
  source       int NOT NULL,
  type         text NOT NULL,
  school       text,
  received_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  content_type text NOT NULL,
  digest       bytea NOT NULL,
  body         bytea,
  removed      jsonb,
  attributes   jsonb,
  upload       bigint,
  chunk        int,
  duplicate_of bigint,
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX messages_upload ON messages (upload) WHERE upload IS NOT NULL;

-- Messages whose records are not made yet. Narrow, emptied as it is worked off.
CREATE TABLE inbox (
  message     bigint PRIMARY KEY,
  class       smallint NOT NULL,
  due_at      timestamptz NOT NULL DEFAULT now(),
  tries       int NOT NULL DEFAULT 0,
  problem     text
);

-- 2 invalid, 3 duplicate, 4 routed; a message with no row here is pending.
CREATE TABLE message_results (
  message  bigint NOT NULL,
  class    smallint NOT NULL,
  outcome  smallint NOT NULL CHECK (outcome IN (2, 3, 4)),
  items    int NOT NULL,
  rejected int NOT NULL,
  records  int NOT NULL,
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (message, class)
) PARTITION BY LIST (class);

CREATE TABLE rejects (
  message bigint NOT NULL,
  class   smallint NOT NULL,
  pointer text NOT NULL,
  code    text NOT NULL,
  key     text,
  text    jsonb NOT NULL
) PARTITION BY LIST (class);
CREATE INDEX rejects_message ON rejects (message);

-- disposition: 1 a new fact, 2 unchanged (equal to the current version), 3 quarantined
CREATE TABLE records (
  id          bigint NOT NULL,
  class       smallint NOT NULL,
  message     bigint NOT NULL,
  pointer     text NOT NULL,
  type        text NOT NULL,
  key         text NOT NULL,
  event       text NOT NULL CHECK (event IN ('NEW', 'UPDATE', 'CANCEL')),
  version     int NOT NULL CHECK (version > 0),
  updated_at  timestamptz NOT NULL,
  school      text,
  body        jsonb,
  content     bytea NOT NULL,
  catalogue   text NOT NULL,
  disposition smallint NOT NULL CHECK (disposition IN (1, 2, 3)),
  due         smallint NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX records_key ON records (key);
CREATE INDEX records_message ON records (message);

-- One row per entity: its current version. Locked in sorted order by whoever adds a version.
CREATE TABLE streams (
  type       text NOT NULL,
  key        text NOT NULL,
  version    int NOT NULL,
  event      text NOT NULL,
  content    bytea NOT NULL,
  identity   bytea,
  record     bigint NOT NULL,
  school     text,
  PRIMARY KEY (type, key)
) WITH (fillfactor = 80);

-- Open deliveries only: narrow, hot, unpartitioned. Closed ones move to deliveries_closed in the same transaction.
CREATE TABLE deliveries (
  id          bigint PRIMARY KEY,
  seq         bigint NOT NULL DEFAULT nextval('delivery_seq'),
  record      bigint NOT NULL,
  connector   smallint NOT NULL,
  class       smallint NOT NULL,
  state       smallint NOT NULL CHECK (state BETWEEN 1 AND 6),
  aside       boolean NOT NULL DEFAULT false,
  attempts    smallint NOT NULL DEFAULT 0,
  absent      smallint NOT NULL DEFAULT 0,
  order_key   bigint,
  rank        bigint NOT NULL,
  claim       bigint,
  lease_until timestamptz,
  due_at      timestamptz,
  intent      bigint,
  resend      bigint,
  task        bigint,
  replay_of   bigint,
  since       timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  flow        text NOT NULL,
  key         text NOT NULL,
  school      text,
  cause       text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX deliveries_ready ON deliveries (connector, rank) WHERE state = 2;
CREATE INDEX deliveries_order ON deliveries (connector, order_key, seq) WHERE order_key IS NOT NULL;
CREATE INDEX deliveries_lease ON deliveries (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX deliveries_due ON deliveries (connector, due_at) WHERE state IN (4, 6);
CREATE INDEX deliveries_task ON deliveries (task) WHERE task IS NOT NULL;
CREATE INDEX deliveries_record ON deliveries (record);
CREATE INDEX deliveries_replay ON deliveries (replay_of) WHERE replay_of IS NOT NULL;

CREATE TABLE deliveries_closed (
  id         bigint NOT NULL,
  class      smallint NOT NULL,
  seq        bigint NOT NULL,
  record     bigint NOT NULL,
  connector  smallint NOT NULL,
  state      smallint NOT NULL CHECK (state BETWEEN 7 AND 9),
  attempts   smallint NOT NULL,
  created_at timestamptz NOT NULL,
  closed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  flow       text NOT NULL,
  key        text NOT NULL,
  school     text,
  cause      text NOT NULL,
  reference  text,
  detail     text,
  call       bigint,
  replay_of  bigint,
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX deliveries_closed_record ON deliveries_closed (record);
CREATE INDEX deliveries_closed_key ON deliveries_closed (key);
CREATE INDEX deliveries_closed_replay ON deliveries_closed (replay_of) WHERE replay_of IS NOT NULL;

-- The request as rendered (never with credentials). A row written before the first byte is the intent.
CREATE TABLE calls (
  id           bigint NOT NULL,
  class        smallint NOT NULL,
  connector    smallint NOT NULL,
  operation    text NOT NULL,
  deliveries   bigint[] NOT NULL,
  idempotent   boolean NOT NULL,
  key          text,
  method       text NOT NULL,
  path         text NOT NULL,
  headers      jsonb NOT NULL,
  content_type text NOT NULL,
  meta         jsonb NOT NULL,
  digest       bytea NOT NULL,
  body         bytea,
  mapping      text NOT NULL,
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);

CREATE TABLE replies (
  id         bigint NOT NULL,
  class      smallint NOT NULL,
  call       bigint NOT NULL,
  status     int,
  headers    jsonb,
  digest     bytea,
  body       bytea,
  error      text,
  elapsed_ms real NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX replies_call ON replies (call);

CREATE TABLE attempts (
  id         bigint NOT NULL,
  class      smallint NOT NULL,
  delivery   bigint NOT NULL,
  call       bigint,
  number     smallint NOT NULL,
  kind       text NOT NULL CHECK (kind IN ('send', 'inquire')),
  outcome    text NOT NULL,
  reason     text,
  late       boolean NOT NULL DEFAULT false,
  worker     text NOT NULL,
  elapsed_ms real,
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX attempts_delivery ON attempts (delivery);

-- The look-up log: written before the look-up is made, never changed. The input only as a keyed hash.
CREATE TABLE lookups (
  call       bigint PRIMARY KEY,
  connector  smallint NOT NULL,
  delivery   bigint NOT NULL,
  request_id text NOT NULL,
  officer    text NOT NULL,
  purpose    text NOT NULL,
  input_hash bytea NOT NULL,
  at         timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE tasks (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  connector   smallint,
  cause       text NOT NULL,
  subject     text NOT NULL,
  text        jsonb NOT NULL,
  data        jsonb,
  state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
  opened_at   timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  actor       text,
  resolution  text
);
CREATE UNIQUE INDEX tasks_open ON tasks (coalesce(connector, 0), cause, subject) WHERE state = 'open';

-- Codes approved by people, beside the tables that come with the hub. Never updated: a later row supersedes.
CREATE TABLE approved_codes (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source_system  text NOT NULL,
  code           text NOT NULL,
  target_system  text NOT NULL,
  canonical      text NOT NULL,
  effective_from date,
  actor          text NOT NULL,
  note           text,
  at             timestamptz NOT NULL DEFAULT now()
);

-- Append-only. `tx` lets the sealer take exactly the rows of finished transactions.
CREATE TABLE journal (
  id        bigint NOT NULL,
  class     smallint NOT NULL,
  tx        xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor     text NOT NULL,
  kind      text NOT NULL,
  connector smallint,
  subject   bigint,
  ids       bigint[],
  data      jsonb,
  PRIMARY KEY (id, class)
) PARTITION BY LIST (class);
CREATE INDEX journal_tx ON journal (tx);
CREATE INDEX journal_subject ON journal (subject) WHERE subject IS NOT NULL;

CREATE TABLE seals (
  number  bigint PRIMARY KEY,
  from_tx xid8 NOT NULL,
  to_tx   xid8 NOT NULL,
  entries bigint NOT NULL,
  root    bytea NOT NULL,
  chain   bytea NOT NULL,
  at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Partitions: by retention class (1 short, 2 standard, 3 long), then by day of the id.
CREATE FUNCTION id_day(day date) RETURNS bigint IMMUTABLE LANGUAGE sql AS
  $$ SELECT (day - date '2020-01-01')::bigint << 37 $$;

CREATE FUNCTION partitioned() RETURNS TABLE (name text, by_column text) IMMUTABLE LANGUAGE sql AS $$
  VALUES ('messages', 'id'), ('message_results', 'message'), ('rejects', 'message'), ('records', 'id'),
         ('deliveries_closed', 'id'), ('calls', 'id'), ('replies', 'id'), ('attempts', 'id'), ('journal', 'id') $$;

DO $$
DECLARE t record; c int;
BEGIN
  FOR t IN SELECT * FROM partitioned() LOOP
    FOR c IN 1..3 LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s) PARTITION BY RANGE (%I)', t.name || '_c' || c, t.name, c, t.by_column);
      EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', t.name || '_c' || c || '_default', t.name || '_c' || c);
    END LOOP;
  END LOOP;
END $$;

-- Makes the days from yesterday to `ahead` days on. Safe to call at any time, by several at once.
CREATE FUNCTION make_partitions(ahead int) RETURNS int SECURITY DEFINER SET search_path = hub LANGUAGE plpgsql AS $$
DECLARE t record; c int; d date; made int := 0; part text; today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
  PERFORM pg_advisory_xact_lock(7001);
  FOR t IN SELECT * FROM partitioned() LOOP
    FOR c IN 1..3 LOOP
      FOR d IN SELECT generate_series(today - 1, today + ahead, interval '1 day')::date LOOP
        part := format('%s_c%s_%s', t.name, c, to_char(d, 'YYYYMMDD'));
        IF to_regclass(part) IS NULL THEN
          EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                         part, t.name || '_c' || c, id_day(d), id_day(d + 1));
          made := made + 1;
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- Rows that fell into a DEFAULT partition: an alarm, whatever the number.
CREATE FUNCTION default_rows() RETURNS bigint SECURITY DEFINER SET search_path = hub LANGUAGE plpgsql AS $$
DECLARE t record; c int; n bigint; total bigint := 0;
BEGIN
  FOR t IN SELECT * FROM partitioned() LOOP
    FOR c IN 1..3 LOOP
      EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM ONLY %I LIMIT 1000) x', t.name || '_c' || c || '_default') INTO n;
      total := total + n;
    END LOOP;
  END LOOP;
  RETURN total;
END $$;

-- Drops the days of one class before `before`; a day with an open delivery, or one still in the inbox, is kept.
CREATE FUNCTION drop_partitions(of_class int, before date) RETURNS text[] SECURITY DEFINER SET search_path = hub LANGUAGE plpgsql AS $$
DECLARE p record; dropped text[] := '{}'; d date; oldest bigint;
BEGIN
  PERFORM pg_advisory_xact_lock(7001);
  IF before > (now() AT TIME ZONE 'UTC')::date - 1 THEN
    RAISE EXCEPTION 'only whole days in the past can be dropped';
  END IF;
  SELECT least((SELECT min(least(id, record)) FROM deliveries WHERE class = of_class),
               (SELECT min(message) FROM inbox WHERE class = of_class),
               (SELECT min(m) FROM (SELECT min(r.message) AS m FROM deliveries x JOIN records r ON r.id = x.record AND r.class = x.class WHERE x.class = of_class) y))
    INTO oldest;
  FOR p IN SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'hub' AND c.relkind = 'r' AND c.relname ~ format('_c%s_[0-9]{8}$', of_class) LOOP
    d := to_date(right(p.relname, 8), 'YYYYMMDD');
    IF d < before AND (oldest IS NULL OR id_day(d + 1) <= oldest) THEN
      EXECUTE format('DROP TABLE %I', p.relname);
      dropped := dropped || p.relname::text;
    END IF;
  END LOOP;
  RETURN dropped;
END $$;

SELECT make_partitions(14);
