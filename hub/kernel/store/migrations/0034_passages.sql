-- What an intake asks of check-ins, as in 0025, its answer column by column: it goes with what the intake asks anyway, in one round trip.

-- `after`: what the caller did first; looked at by nobody. `near`: of each punch found, around which of
-- those asked of it lies, counted from 1.
CREATE FUNCTION passage_look(
  devices text[], spaces text[], persons text[], places text[], ats timestamptz[], receipts timestamptz[], span interval, after bigint[] DEFAULT NULL,
  OUT whose text[], OUT links bigint[], OUT learners text[], OUT hashes bigint[], OUT near int[], OUT near_at timestamptz[],
  OUT near_record bigint[], OUT near_leader bigint[]
)
-- Always by the key, also while the table is too new for the planner to know how large it is.
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  SELECT array_agg(x.space ORDER BY x.n), array_agg(x.link ORDER BY x.n), array_agg(x.who ORDER BY x.n), array_agg(x.hash ORDER BY x.n)
  INTO whose, links, learners, hashes
  FROM (
    SELECT w.n, s.space, g.id AS link, who,
      CASE WHEN w.at IS NOT NULL AND who IS NOT NULL THEN hashtextextended(who || E'\x1f' || w.spot, 17) END AS hash
    FROM unnest(devices, spaces, persons, places, ats, receipts) WITH ORDINALITY w(device, space, person, spot, at, receipt, n)
    LEFT JOIN devices d ON d.id = w.device
    CROSS JOIN LATERAL (SELECT coalesce(d.namespace, w.space) AS space) s
    LEFT JOIN LATERAL (
      SELECT p.id, p.learner FROM gate_persons p
      WHERE p.namespace = s.space AND p.local = w.person AND p.undone_at IS NULL
        AND coalesce(w.at, w.receipt) >= p.since AND coalesce(w.at, w.receipt) < p.until
      ORDER BY p.id DESC LIMIT 1) g ON s.space IS NOT NULL
    CROSS JOIN LATERAL (SELECT CASE WHEN s.space IS NULL THEN w.person ELSE g.learner END AS who) k
  ) x;
  -- The statement below sees what was committed before the locks were granted.
  PERFORM pg_advisory_xact_lock(h) FROM (SELECT DISTINCT u AS h FROM unnest(hashes) u WHERE u IS NOT NULL ORDER BY 1) s;
  SELECT array_agg(w.n), array_agg(q.at), array_agg(q.record), array_agg(q.leader) INTO near, near_at, near_record, near_leader
  FROM unnest(hashes, ats) WITH ORDINALITY w(hash, at, n)
  CROSS JOIN LATERAL (SELECT * FROM punches u WHERE u.place = w.hash AND u.at BETWEEN w.at - span AND w.at + span OFFSET 0) q;
END $$;
DROP FUNCTION presence_look(text[], text[], text[], text[], timestamptz[], timestamptz[], interval);
