-- Intake in two round trips. Types that carry rows as arrays: so a few messages with all that belongs to them are one
-- statement's parameters, each the columns a COPY of many would name, in its order.
CREATE TYPE intake_key AS (digest uuid, message bigint, body_digest bytea);
CREATE TYPE intake_entity AS (type text, key text);
CREATE TYPE intake_pair AS (connector smallint, order_key bigint);
CREATE TYPE intake_message AS (
  id bigint, class smallint, source int, type text, school text, content_type text, digest bytea, body bytea, removed jsonb,
  attributes jsonb, upload bigint, chunk int, duplicate_of bigint);
CREATE TYPE intake_result AS (message bigint, class smallint, outcome smallint, items int, rejected int, records int);
CREATE TYPE intake_line AS (
  id bigint, class smallint, actor text, kind text, connector smallint, subject bigint, ids bigint[], data jsonb);
CREATE TYPE intake_record AS (
  id bigint, class smallint, message bigint, pointer text, type text, key text, event text, version int, updated_at timestamptz,
  school text, body jsonb, content bytea, catalogue text, disposition smallint, due smallint);
CREATE TYPE intake_stream AS (
  type text, key text, version int, event text, content bytea, identity bytea, record bigint, school text);
CREATE TYPE intake_delivery AS (
  id bigint, record bigint, connector smallint, class smallint, state smallint, order_key bigint, rank bigint, due_at timestamptz,
  flow text, key text, school text, cause text, replay_of bigint);

-- What an intake asks before it writes: its keys claimed, its order locks held, and only then, with a fresh snapshot, the
-- current versions and the order keys that are taken. Runs with the caller's rights.
--
-- `taken`: messages whose key was new. `known`: what is on record for the others. `current`: the streams that exist.
-- `busy`: places (from 1) in `pairs` where an open delivery stands before whatever comes.
CREATE FUNCTION intake_look(
  keys intake_key[], locks bigint[], entities intake_entity[], pairs intake_pair[],
  OUT taken bigint[], OUT known intake_keys[], OUT current streams[], OUT busy int[]
) LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) > 0 THEN
    WITH claimed AS (
      INSERT INTO intake_keys (digest, message, body_digest) SELECT digest, message, body_digest FROM unnest(keys)
      ON CONFLICT DO NOTHING RETURNING message)
    SELECT array_agg(message) INTO taken FROM claimed;
    IF coalesce(cardinality(taken), 0) < cardinality(keys) THEN
      SELECT array_agg(k) INTO known FROM unnest(keys) w JOIN intake_keys k ON k.digest = w.digest;
    END IF;
  END IF;
  -- Each statement below sees what was committed before the locks were granted: that is why this is no plain SELECT.
  IF cardinality(locks) > 0 THEN
    PERFORM pg_advisory_xact_lock(k) FROM unnest(locks) k;
  END IF;
  IF cardinality(entities) > 0 THEN
    SELECT array_agg(s) INTO current FROM unnest(entities) w
    CROSS JOIN LATERAL (SELECT * FROM streams t WHERE t.type = w.type AND t.key = w.key LIMIT 1) s;
  END IF;
  IF cardinality(pairs) > 0 THEN
    SELECT array_agg(w.place) INTO busy FROM unnest(pairs) WITH ORDINALITY w(connector, order_key, place)
    CROSS JOIN LATERAL (
      SELECT 1 FROM deliveries d WHERE d.connector = w.connector AND d.order_key = w.order_key AND NOT d.aside LIMIT 1) x;
  END IF;
END $$;
