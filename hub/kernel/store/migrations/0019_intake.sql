-- Intake with less to write and less to wrap.

-- What became of a message stands in its own row where that is known when it is stored, as it nearly always is: one row and one
-- index entry less for each. `message_results` is left to messages stored first and read later, and to what came before.
ALTER TABLE messages ADD COLUMN outcome smallint, ADD COLUMN items int, ADD COLUMN rejected int, ADD COLUMN records int;
-- Not looked for in the rows there are, which have none: the table is not read through while nobody may write.
ALTER TABLE messages ADD CONSTRAINT messages_outcome_check CHECK (outcome IN (2, 3, 4)) NOT VALID;
ALTER TYPE intake_message ADD ATTRIBUTE outcome smallint, ADD ATTRIBUTE items int, ADD ATTRIBUTE rejected int, ADD ATTRIBUTE records int;

-- Both places as one; a message with no row here is pending.
CREATE VIEW message_outcomes AS
  SELECT id AS message, class, outcome, items, rejected, records, received_at AS at FROM messages WHERE outcome IS NOT NULL
  UNION ALL
  SELECT message, class, outcome, items, rejected, records, at FROM message_results;
GRANT SELECT ON message_outcomes TO hub_app;

-- What an intake asks before it writes, as in 0004, its questions column by column: rows of a made type cost both sides more to
-- wrap and unwrap than to look up.
DROP FUNCTION intake_look(intake_key[], bigint[], intake_entity[], intake_pair[]);
DROP TYPE intake_key, intake_entity, intake_pair, intake_result;
CREATE FUNCTION intake_look(
  digests uuid[], messages bigint[], bodies bytea[], locks bigint[], types text[], names text[], connectors smallint[], orders bigint[],
  OUT taken bigint[], OUT known intake_keys[], OUT current streams[], OUT busy int[]
) LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(digests) > 0 THEN
    WITH claimed AS (
      INSERT INTO intake_keys (digest, message, body_digest) SELECT * FROM unnest(digests, messages, bodies)
      ON CONFLICT DO NOTHING RETURNING message)
    SELECT array_agg(message) INTO taken FROM claimed;
    IF coalesce(cardinality(taken), 0) < cardinality(digests) THEN
      SELECT array_agg(k) INTO known FROM unnest(digests) w(digest) JOIN intake_keys k ON k.digest = w.digest;
    END IF;
  END IF;
  -- Each statement below sees what was committed before the locks were granted: that is why this is no plain SELECT.
  IF cardinality(locks) > 0 THEN
    PERFORM pg_advisory_xact_lock(k) FROM unnest(locks) k;
  END IF;
  IF cardinality(names) > 0 THEN
    SELECT array_agg(s) INTO current FROM unnest(types, names) w(type, key)
    CROSS JOIN LATERAL (SELECT * FROM streams t WHERE t.type = w.type AND t.key = w.key LIMIT 1) s;
  END IF;
  IF cardinality(orders) > 0 THEN
    SELECT array_agg(w.place) INTO busy FROM unnest(connectors, orders) WITH ORDINALITY w(connector, order_key, place)
    CROSS JOIN LATERAL (
      SELECT 1 FROM deliveries d WHERE d.connector = w.connector AND d.order_key = w.order_key AND NOT d.aside LIMIT 1) x;
  END IF;
END $$;
