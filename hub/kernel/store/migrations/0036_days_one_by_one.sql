-- The coming days' tables, one in a transaction: made all in one, they held the locks of each table while they waited for the next,
-- behind whoever read for minutes, and all that came in waited behind them (or met them the other way round). A table made first and
-- attached then locks nobody who only writes.

DROP FUNCTION make_partitions(int);

-- Makes the nearest day's first table that lacks and gives its name; NULL where none does. Raises lock_not_available at once where
-- somebody reads what it needs: there are days left to make it.
CREATE FUNCTION make_partition(ahead int) RETURNS text SECURITY DEFINER SET search_path = hub SET lock_timeout = '100ms' LANGUAGE plpgsql AS $$
DECLARE t record; c int; d date; part text; base text; today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
  PERFORM pg_advisory_xact_lock(7001);
  FOR d IN SELECT generate_series(today - 1, today + ahead, interval '1 day')::date LOOP
    FOR t IN SELECT * FROM partitioned() LOOP
      FOR c IN 1..3 LOOP
        base := t.name || '_c' || c;
        part := base || '_' || to_char(d, 'YYYYMMDD');
        IF to_regclass(part) IS NULL THEN
          EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, base);
          PERFORM leave_unsampled(part::regclass);
          EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', base, part, id_day(d), id_day(d + 1));
          RETURN part;
        END IF;
      END LOOP;
    END LOOP;
  END LOOP;
  RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION make_partition(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partition(int) TO hub_app;

-- What drops days waits less: for so long everybody who writes to that class waits as well.
ALTER FUNCTION retire_day(int, date) SET lock_timeout = '300ms';
