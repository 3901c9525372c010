-- No statistics of what no plan goes by: the bodies, hashes and lists of a day's rows. Sorting samples of them cost PostgreSQL's own upkeep
-- half a second of a core every minute of a peak, in the middle of what was waited for.

CREATE FUNCTION leave_unsampled(of_table regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE columns text;
BEGIN
  SELECT string_agg(format('ALTER COLUMN %I SET STATISTICS 0', attname), ', ') INTO columns FROM pg_attribute
  WHERE attrelid = of_table AND attnum > 0 AND NOT attisdropped AND atttypid IN ('bytea'::regtype, 'jsonb'::regtype, 'bigint[]'::regtype);
  IF columns IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s %s', of_table, columns);
  END IF;
END $$;
REVOKE ALL ON FUNCTION leave_unsampled(regclass) FROM PUBLIC;

-- As in 0001, and new days are left unsampled.
CREATE OR REPLACE FUNCTION make_partitions(ahead int) RETURNS int SECURITY DEFINER SET search_path = hub LANGUAGE plpgsql AS $$
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
          PERFORM leave_unsampled(part::regclass);
          made := made + 1;
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;

-- The days there are from yesterday on; nothing is added to older ones, so they are not sampled again.
DO $$
DECLARE p record; yesterday date := (now() AT TIME ZONE 'UTC')::date - 1;
BEGIN
  FOR p IN SELECT c.oid::regclass AS part FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = 'hub' AND c.relkind = 'r' AND c.relname ~ '_c[123]_[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') >= yesterday LOOP
    PERFORM leave_unsampled(p.part);
  END LOOP;
  PERFORM leave_unsampled(t) FROM unnest(ARRAY['intake_keys', 'streams']::regclass[]) t;
END $$;
