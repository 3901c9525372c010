-- Passages that only a gate's list has told so far, of families whose lists and pushes have no name in common. A push that comes after
-- all, however late, takes its line away: it is the same passage. Numbers of persons stand here as hashes only.
CREATE TABLE gate_sightings (
  message  bigint PRIMARY KEY,
  device   text NOT NULL,
  at_ms    bigint NOT NULL,
  alias    uuid,
  vendor   uuid,
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (alias IS NOT NULL OR vendor IS NOT NULL)
);
CREATE INDEX gate_sightings_at ON gate_sightings (device, at_ms);
GRANT SELECT, INSERT, DELETE ON gate_sightings TO hub_app;

-- Pushes that are about to be taken in. For one that the list has told already, its intake key is put on record as that message's,
-- so that the intake finds a repeat. One line is taken by one push: of two within a second both stay. A list's page holds the
-- device alone meanwhile (`gate_sightings_hold`): each statement below sees what was committed before that was granted.
CREATE FUNCTION gate_sightings_meet(
  digests uuid[], bodies bytea[], devices text[], times bigint[], aliases uuid[], vendors uuid[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  pushed record;
  listed bigint;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7029, h) FROM (SELECT DISTINCT hashtext(d) AS h FROM unnest(devices) d ORDER BY 1) o;
  FOR pushed IN SELECT * FROM unnest(digests, bodies, devices, times, aliases, vendors) u(digest, body, device, at_ms, alias, vendor) ORDER BY digest LOOP
    LOOP
      SELECT g.message INTO listed FROM gate_sightings g
      WHERE g.device = pushed.device AND g.at_ms > pushed.at_ms - 1000 AND g.at_ms < pushed.at_ms + 1000
        AND CASE WHEN g.alias IS NOT NULL AND pushed.alias IS NOT NULL THEN g.alias = pushed.alias ELSE g.vendor = pushed.vendor END
      ORDER BY abs(g.at_ms - pushed.at_ms), g.message LIMIT 1;
      EXIT WHEN NOT FOUND;
      INSERT INTO intake_keys (digest, message, body_digest) VALUES (pushed.digest, listed, pushed.body) ON CONFLICT DO NOTHING;
      EXIT WHEN NOT FOUND;
      DELETE FROM gate_sightings WHERE message = listed;
      EXIT WHEN FOUND;
      DELETE FROM intake_keys WHERE digest = pushed.digest AND message = listed;
    END LOOP;
  END LOOP;
END $$;

-- How many numbers a gate skipped beyond what one gate may have asked for, and when last.
ALTER TABLE gate_memory ADD COLUMN beyond bigint NOT NULL DEFAULT 0, ADD COLUMN beyond_at timestamptz;
