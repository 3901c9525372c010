-- The truth of a check-in: who it really was, when it really happened, and which of several punches of one passage travels.

-- What the user ids on a gate mean: NULL, the codes the department gives; else the namespace they are local to (the device
-- itself, or a vendor's account several devices share).
ALTER TABLE devices ADD COLUMN namespace text CHECK (namespace ~ '^[0-9A-Za-z][0-9A-Za-z._:@-]{0,79}$');

-- Disposition 5: the same passage as another check-in, which travels in its place.
ALTER TABLE records DROP CONSTRAINT records_disposition_check;
ALTER TABLE records ADD CONSTRAINT records_disposition_check CHECK (disposition IN (1, 2, 3, 4, 5));

-- Accepted punches of the last weeks, by whom and where (`place`: hash over person, school, entrance, direction). Working
-- memory with its own retention, like intake_keys. `record`: the check-in's first record, its identity here. `leader`: the
-- one it was merged into when last judged; itself when it travels. `link`: the link that named its person.
CREATE TABLE punches (
  place  bigint NOT NULL,
  at     timestamptz NOT NULL,
  record bigint NOT NULL,
  leader bigint NOT NULL,
  link   bigint,
  PRIMARY KEY (place, at, record)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX punches_link ON punches (link) WHERE link IS NOT NULL;
CREATE INDEX punches_at ON punches USING brin (at);

-- Check-ins that cannot be placed yet. `clock`: the device's time cannot be right; `person`: nobody is linked to its id.
CREATE TABLE checkin_waits (
  record      bigint PRIMARY KEY,
  reason      text NOT NULL CHECK (reason IN ('clock', 'person')),
  device      text NOT NULL,
  namespace   text,
  local       text,
  school      text,
  device_time timestamptz,
  received_at timestamptz NOT NULL,
  happened    timestamptz,
  live        boolean NOT NULL
);
CREATE INDEX checkin_waits_person ON checkin_waits (namespace, local, record) WHERE reason = 'person';
CREATE INDEX checkin_waits_clock ON checkin_waits (device, received_at) WHERE reason = 'clock';

-- Which learner a local id means, from when to when. Never deleted: undone.
CREATE TABLE gate_persons (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace text NOT NULL,
  local     text NOT NULL,
  learner   text NOT NULL,
  since     timestamptz NOT NULL DEFAULT '-infinity',
  until     timestamptz NOT NULL DEFAULT 'infinity' CHECK (until > since),
  actor     text NOT NULL,
  why       text NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  undone_at timestamptz,
  undone_by text
);
CREATE INDEX gate_persons_known ON gate_persons (namespace, local) WHERE undone_at IS NULL;
CREATE INDEX gate_persons_at ON gate_persons (at);

-- How far a gate's clock was off while it was wrong: receipt minus device time, for device times from `since` to `until`.
CREATE TABLE gate_offsets (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device        text NOT NULL REFERENCES devices (id),
  lag_s         double precision NOT NULL,
  uncertainty_s double precision NOT NULL CHECK (uncertainty_s >= 0),
  since         timestamptz NOT NULL DEFAULT '-infinity',
  until         timestamptz NOT NULL DEFAULT 'infinity',
  by_hand       boolean NOT NULL,
  actor         text NOT NULL,
  why           text NOT NULL,
  at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gate_offsets_device ON gate_offsets (device, id);

-- Check-ins to be judged again: something they rest on has changed. Gone with the transaction that did it.
CREATE TABLE rejudgements (
  record bigint PRIMARY KEY,
  due_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX rejudgements_due ON rejudgements (due_at, record);

GRANT SELECT, INSERT, UPDATE, DELETE ON punches, checkin_waits, rejudgements TO hub_app;
GRANT SELECT, INSERT ON gate_persons, gate_offsets TO hub_app;
GRANT UPDATE (undone_at, undone_by) ON gate_persons TO hub_app;
GRANT UPDATE (until, uncertainty_s) ON gate_offsets TO hub_app;

-- What has to be known to place check-ins: whom each id means, and the punches around it. Persons first; then the places are
-- locked in order (after the order locks of `intake_look`, as everybody does), and what is read then was committed before.
-- Times may be null: such a check-in takes no place.
CREATE FUNCTION presence_look(devices text[], persons text[], places text[], ats timestamptz[], receipts timestamptz[], span interval)
RETURNS TABLE (n int, namespace text, link bigint, learner text, place bigint, near_at timestamptz[], near_record bigint[], near_leader bigint[])
-- Always by the key, also while the table is too new for the planner to know how large it is.
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  spaces text[]; links bigint[]; learners text[]; hashes bigint[];
BEGIN
  SELECT array_agg(x.space ORDER BY x.n), array_agg(x.link ORDER BY x.n), array_agg(x.who ORDER BY x.n), array_agg(x.hash ORDER BY x.n)
  INTO spaces, links, learners, hashes
  FROM (
    SELECT w.n, d.namespace AS space, g.id AS link, who,
      CASE WHEN w.at IS NOT NULL AND who IS NOT NULL THEN hashtextextended(who || E'\x1f' || w.spot, 17) END AS hash
    FROM unnest(devices, persons, places, ats, receipts) WITH ORDINALITY w(device, person, spot, at, receipt, n)
    LEFT JOIN devices d ON d.id = w.device
    LEFT JOIN LATERAL (
      SELECT p.id, p.learner FROM gate_persons p
      WHERE p.namespace = d.namespace AND p.local = w.person AND p.undone_at IS NULL
        AND coalesce(w.at, w.receipt) >= p.since AND coalesce(w.at, w.receipt) < p.until
      ORDER BY p.id DESC LIMIT 1) g ON d.namespace IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE WHEN d.namespace IS NULL THEN w.person ELSE g.learner END AS who) k
  ) x;
  PERFORM pg_advisory_xact_lock(h) FROM (SELECT DISTINCT u AS h FROM unnest(hashes) u WHERE u IS NOT NULL ORDER BY 1) s;
  RETURN QUERY
    SELECT w.n::int, w.s, w.l, w.k, w.h, p.a, p.r, p.d
    FROM unnest(spaces, links, learners, hashes, ats) WITH ORDINALITY w(s, l, k, h, at, n)
    LEFT JOIN LATERAL (
      SELECT array_agg(q.at ORDER BY q.at, q.record) AS a, array_agg(q.record ORDER BY q.at, q.record) AS r, array_agg(q.leader ORDER BY q.at, q.record) AS d
      FROM punches q WHERE q.place = w.h AND q.at BETWEEN w.at - span AND w.at + span) p ON w.h IS NOT NULL
    ORDER BY w.n;
END $$;
