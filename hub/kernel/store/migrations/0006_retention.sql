-- Whole days go, what is still true stays. A living entity's current version is copied into a fresh day (disposition 4)
-- before its own is dropped; a day that still holds one is not dropped. Seals cover one class and one day each, so that a
-- dropped day takes whole seals' entries with it and every other can still be computed anew.
ALTER TABLE records DROP CONSTRAINT records_disposition_check;
ALTER TABLE records ADD CONSTRAINT records_disposition_check CHECK (disposition IN (1, 2, 3, 4));

ALTER TABLE seals ADD COLUMN class smallint, ADD COLUMN day date;

-- What retention has dropped. Written by `retire_day` alone: nobody else can say that missing entries were meant to go.
CREATE TABLE retired (
  class  smallint NOT NULL,
  day    date NOT NULL,
  tables text[] NOT NULL,
  at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (class, day)
);
GRANT SELECT ON retired TO hub_app;

DROP FUNCTION drop_partitions(int, date);

-- The days of a class before a date that still have partitions, oldest first.
CREATE FUNCTION days_before(of_class int, before date) RETURNS SETOF date STABLE SECURITY DEFINER SET search_path = hub LANGUAGE sql AS $$
  SELECT DISTINCT to_date(right(c.relname, 8), 'YYYYMMDD') AS day FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'hub' AND c.relkind = 'r' AND c.relname ~ format('_c%s_[0-9]{8}$', of_class)
    AND right(c.relname, 8) < to_char(before, 'YYYYMMDD')
  ORDER BY day $$;

-- Drops one day of one class, unless an open delivery, the inbox or an entity's current version needs it; the journal's
-- only once it is sealed. Gives the names of what went. Waits for no one long: what reads a whole table now must not make
-- everybody who writes wait behind this.
CREATE FUNCTION retire_day(of_class int, of_day date) RETURNS text[] SECURITY DEFINER SET search_path = hub SET lock_timeout = '2s' LANGUAGE plpgsql AS $$
DECLARE t record; part text; dropped text[] := '{}'; bases text[] := '{}'; oldest bigint; needed boolean;
BEGIN
  IF of_day > (now() AT TIME ZONE 'UTC')::date - 2 THEN
    RAISE EXCEPTION 'only whole days in the past can be dropped';
  END IF;
  PERFORM pg_advisory_xact_lock(7001);
  SELECT least((SELECT min(least(id, record)) FROM deliveries WHERE class = of_class),
               (SELECT min(message) FROM inbox WHERE class = of_class),
               (SELECT min(r.message) FROM deliveries x JOIN records r ON r.id = x.record AND r.class = x.class WHERE x.class = of_class))
    INTO oldest;
  IF oldest < id_day(of_day + 1) THEN
    RETURN dropped;
  END IF;
  part := format('records_c%s_%s', of_class, to_char(of_day, 'YYYYMMDD'));
  IF to_regclass(part) IS NOT NULL THEN
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I r JOIN streams s ON s.type = r.type AND s.key = r.key AND s.record = r.id WHERE s.event <> ''CANCEL'')', part)
      INTO needed;
    IF needed THEN
      RETURN dropped;
    END IF;
  END IF;
  FOR t IN SELECT * FROM partitioned() LOOP
    part := format('%s_c%s_%s', t.name, of_class, to_char(of_day, 'YYYYMMDD'));
    CONTINUE WHEN to_regclass(part) IS NULL;
    IF t.name = 'journal' THEN
      EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE tx >= coalesce((SELECT to_tx FROM seals ORDER BY number DESC LIMIT 1), ''0''))', part) INTO needed;
      CONTINUE WHEN needed;
    END IF;
    EXECUTE format('DROP TABLE %I', part);
    dropped := dropped || part;
    bases := bases || t.name;
  END LOOP;
  IF dropped <> '{}' THEN
    INSERT INTO retired (class, day, tables) VALUES (of_class, of_day, bases)
    ON CONFLICT (class, day) DO UPDATE SET tables = retired.tables || excluded.tables, at = now();
  END IF;
  RETURN dropped;
END $$;
