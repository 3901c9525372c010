-- Two words about one passage that name the person by numbers of different kinds: one by the number somebody was given, the other by the
-- vendor's own. They are one where both mean the same learner by links in force at its time.

-- Whom a number meant at a moment; without a namespace it is the department's code. NULL: nobody is known.
CREATE FUNCTION gate_learner_of(space text, number text, moment timestamptz) RETURNS text STABLE LANGUAGE sql AS $$
  SELECT CASE WHEN coalesce(number, '') IN ('', 'unknown') THEN NULL WHEN space IS NULL THEN number ELSE (
    SELECT p.learner FROM gate_persons p
    WHERE p.namespace = space AND p.local = number AND p.undone_at IS NULL AND moment >= p.since AND moment < p.until
    ORDER BY p.id DESC LIMIT 1) END
$$;

-- As before (0029), and where no line has a number in common with a push that tells one number alone, a line that tells the other kind
-- alone and means the same learner.
CREATE FUNCTION gate_sightings_meet(
  digests uuid[], bodies bytea[], devices text[], times bigint[], aliases uuid[], vendors uuid[], given text[], own text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  pushed record;
  listed bigint;
  moment timestamptz;
  space text;
  who text;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7029, h) FROM (SELECT DISTINCT hashtext(d) AS h FROM unnest(devices) d ORDER BY 1) o;
  FOR pushed IN
    SELECT * FROM unnest(digests, bodies, devices, times, aliases, vendors, given, own) u(digest, body, device, at_ms, alias, vendor, given, own) ORDER BY digest
  LOOP
    LOOP
      SELECT g.message INTO listed FROM gate_sightings g
      WHERE g.device = pushed.device AND g.at_ms > pushed.at_ms - 1000 AND g.at_ms < pushed.at_ms + 1000
        AND CASE WHEN g.alias IS NOT NULL AND pushed.alias IS NOT NULL THEN g.alias = pushed.alias ELSE g.vendor = pushed.vendor END
      ORDER BY abs(g.at_ms - pushed.at_ms), g.message LIMIT 1;
      IF NOT FOUND AND num_nulls(pushed.alias, pushed.vendor) = 1 AND EXISTS (
        SELECT FROM gate_sightings g WHERE g.device = pushed.device AND g.at_ms > pushed.at_ms - 1000 AND g.at_ms < pushed.at_ms + 1000
      ) THEN
        moment := to_timestamp(pushed.at_ms / 1000.0);
        SELECT d.namespace INTO space FROM devices d WHERE d.id = pushed.device;
        who := CASE WHEN pushed.vendor IS NULL THEN gate_learner_of(space, pushed.given, moment)
          ELSE gate_learner_of(coalesce(space, pushed.device), pushed.own, moment) END;
        SELECT g.message INTO listed FROM gate_sightings g
        JOIN records r ON r.message = g.message AND r.class = 1 AND r.type = 'checkin'
        WHERE who IS NOT NULL AND g.device = pushed.device AND g.at_ms > pushed.at_ms - 1000 AND g.at_ms < pushed.at_ms + 1000
          AND num_nulls(g.alias, g.vendor) = 1 AND (g.alias IS NULL) <> (pushed.alias IS NULL)
          AND gate_learner_of(r.body->>'namespace', coalesce(r.body->>'local_id', r.body->>'person_code'), moment) = who
        ORDER BY abs(g.at_ms - pushed.at_ms), g.message LIMIT 1;
      END IF;
      EXIT WHEN NOT FOUND;
      INSERT INTO intake_keys (digest, message, body_digest) VALUES (pushed.digest, listed, pushed.body) ON CONFLICT DO NOTHING;
      EXIT WHEN NOT FOUND;
      DELETE FROM gate_sightings WHERE message = listed;
      EXIT WHEN FOUND;
      DELETE FROM intake_keys WHERE digest = pushed.digest AND message = listed;
    END LOOP;
  END LOOP;
END $$;
DROP FUNCTION gate_sightings_meet(uuid[], bytea[], text[], bigint[], uuid[], uuid[]);
