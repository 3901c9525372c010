-- Whose a person's number is, told where it comes from: `spaces` is the namespace of a number whose gate has none (a vendor's
-- own number at a gate that otherwise tells the department's codes) or that is judged again (what it meant when it came stays,
-- whatever the gate's numbers mean by now; then there is no device). No gate's namespace is changed here.
CREATE FUNCTION presence_look(devices text[], spaces text[], persons text[], places text[], ats timestamptz[], receipts timestamptz[], span interval)
RETURNS TABLE (n int, namespace text, link bigint, learner text, place bigint, near_at timestamptz[], near_record bigint[], near_leader bigint[])
-- Always by the key, also while the table is too new for the planner to know how large it is.
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  whose text[]; links bigint[]; learners text[]; hashes bigint[];
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
  PERFORM pg_advisory_xact_lock(h) FROM (SELECT DISTINCT u AS h FROM unnest(hashes) u WHERE u IS NOT NULL ORDER BY 1) s;
  RETURN QUERY
    SELECT w.n::int, w.s, w.l, w.k, w.h, p.a, p.r, p.d
    FROM unnest(whose, links, learners, hashes, ats) WITH ORDINALITY w(s, l, k, h, at, n)
    LEFT JOIN LATERAL (
      SELECT array_agg(q.at ORDER BY q.at, q.record) AS a, array_agg(q.record ORDER BY q.at, q.record) AS r, array_agg(q.leader ORDER BY q.at, q.record) AS d
      FROM punches q WHERE q.place = w.h AND q.at BETWEEN w.at - span AND w.at + span) p ON w.h IS NOT NULL
    ORDER BY w.n;
END $$;
DROP FUNCTION presence_look(text[], text[], text[], timestamptz[], timestamptz[], interval);
