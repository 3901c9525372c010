-- Upkeep and recovery read what they are about, however much is held besides.

-- Which old calls are still to be sent again as they are.
CREATE INDEX deliveries_resend ON deliveries (resend) WHERE resend IS NOT NULL;
-- What whoever leads a recovery goes by at every step: what was released and nobody took yet, what began to wait since.
CREATE INDEX deliveries_released ON deliveries (connector) WHERE state = 2 AND cause = 'due';
CREATE INDEX deliveries_stopped ON deliveries (connector, since) WHERE state IN (4, 6);

-- Days whose bodies have all gone: not read through again every hour for as long as their metadata stay.
CREATE TABLE bodies_gone (
  what  text NOT NULL CHECK (what IN ('messages', 'calls', 'replies')),
  class smallint NOT NULL,
  day   date NOT NULL,
  PRIMARY KEY (what, class, day)
);
GRANT SELECT, INSERT, DELETE ON bodies_gone TO hub_app;

-- The days before a date in which a class may still have bodies of this kind, oldest first; those in DEFAULT partitions too.
CREATE FUNCTION days_with_bodies(of_what text, of_class smallint, before date) RETURNS SETOF date STABLE LANGUAGE plpgsql AS $$
DECLARE low bigint;
BEGIN
  EXECUTE format('SELECT min(id) FROM %I WHERE class = $1', of_what) INTO low USING of_class;
  RETURN QUERY
    SELECT d.day::date FROM generate_series(date '2020-01-01' + (low >> 37)::int, before - 1, interval '1 day') d(day)
    WHERE NOT EXISTS (SELECT 1 FROM bodies_gone g WHERE g.what = of_what AND g.class = of_class AND g.day = d.day::date)
    ORDER BY d.day;
END $$;

-- A session makes its plans once and keeps them. One made while little was open reads all that is open, and would go on
-- doing so for each record of the next large upload. What an intake asks, it asks by key: it never reads a table through.
ALTER FUNCTION intake_look(uuid[], bigint[], bytea[], bigint[], text[], text[], smallint[], bigint[]) SET enable_seqscan = off;
