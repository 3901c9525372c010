-- Who a check-in was, when it happened, and which of several punches of one passage travels.

-- name: passage_look
SELECT * FROM passage_look($1, $2, $3, $4, $5, $6, $7)

-- name: passages_write
-- Punches put in place, check-ins that wait, and those to be judged again: one statement.
WITH p AS (
  INSERT INTO punches (place, at, record, leader, link)
  SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[])
  ON CONFLICT (place, at, record) DO UPDATE SET leader = excluded.leader, link = excluded.link),
w AS (
  INSERT INTO checkin_waits (record, reason, device, namespace, local, school, device_time, received_at, happened, live)
  SELECT * FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::timestamptz[], $15::boolean[])
  ON CONFLICT (record) DO UPDATE SET reason = excluded.reason, namespace = excluded.namespace, local = excluded.local, happened = excluded.happened)
INSERT INTO rejudgements (record) SELECT DISTINCT u FROM unnest($16::bigint[]) u ORDER BY 1 ON CONFLICT DO NOTHING

-- name: punch_leave
-- Take punches out of their old places (named by text, as passage_look does); gives each with the one that stood next behind it.
WITH w AS (SELECT hashtextextended(u.spot, 17) AS place, u.at, u.record FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) u(spot, at, record)),
locked AS (SELECT count(pg_advisory_xact_lock(place)) FROM (SELECT DISTINCT place FROM w ORDER BY place) o),
gone AS (DELETE FROM punches p USING w, locked WHERE p.place = w.place AND p.at = w.at AND p.record = w.record RETURNING p.*)
SELECT g.place, g.at, g.record, (
  SELECT q.record FROM punches q WHERE q.place = g.place AND q.at BETWEEN g.at AND g.at + $4::interval AND (q.at, q.record) > (g.at, g.record)
  ORDER BY q.at, q.record LIMIT 1) AS behind
FROM gone g

-- name: rejudge_lock
SELECT pg_try_advisory_xact_lock(7017)

-- name: rejudge_claim
-- Each with its first record and its latest version. `key` null: its day has been dropped.
SELECT j.record, r.key, r.body, r.school, r.updated_at, v.id AS latest, v.version, v.disposition, v.event, v.body AS latest_body
FROM (SELECT record FROM rejudgements WHERE due_at <= clock_timestamp() ORDER BY due_at, record LIMIT $1) j
LEFT JOIN records r ON r.id = j.record AND r.class = 1 AND r.type = 'checkin' AND r.body IS NOT NULL
LEFT JOIN LATERAL (
  SELECT x.id, x.version, x.disposition, x.event, x.body FROM records x
  WHERE x.key = r.key AND x.type = 'checkin' AND x.class = 1 AND x.id >= j.record ORDER BY x.version DESC LIMIT 1) v ON true
ORDER BY r.updated_at, j.record

-- name: rejudge_busy
-- Of these check-ins, those with a version still on its way.
SELECT DISTINCT w.record FROM unnest($1::bigint[], $2::text[]) w(record, key)
JOIN records x ON x.key = w.key AND x.type = 'checkin' AND x.class = 1 AND x.id >= w.record
JOIN deliveries d ON d.record = x.id

-- name: rejudge_later
UPDATE rejudgements SET due_at = clock_timestamp() + $2 * interval '1 second' WHERE record = ANY ($1::bigint[])

-- name: rejudge_done
DELETE FROM rejudgements WHERE record = ANY ($1::bigint[])

-- name: rejudge_ask
INSERT INTO rejudgements (record) SELECT DISTINCT u FROM unnest($1::bigint[]) u ORDER BY 1 ON CONFLICT DO NOTHING

-- name: rejudge_linked
-- Links made of late, and what waits for them: an intake that did not see the link may commit after it was made.
INSERT INTO rejudgements (record)
SELECT w.record FROM gate_persons p JOIN checkin_waits w ON w.namespace = p.namespace AND w.local = p.local AND w.reason = 'person'
WHERE p.at > clock_timestamp() - interval '10 minutes' AND p.undone_at IS NULL
  AND coalesce(w.happened, w.received_at) >= p.since AND coalesce(w.happened, w.received_at) < p.until
ORDER BY w.record LIMIT $1
ON CONFLICT DO NOTHING

-- name: rejudge_unregistered
-- A gate's passages of people it knew by numbers of its own or its vendor's, kept as nobody's before such numbers waited for a link.
INSERT INTO rejudgements (record)
SELECT r.id FROM records r
WHERE r.key >= $1::text || '/' AND r.key < $1::text || '0' AND r.class = 1 AND r.type = 'checkin' AND r.version = 1 AND r.disposition = 3
  AND r.body->>'quarantine' = 'unregistered' AND r.body->>'local_id' IS NOT NULL
  AND NOT EXISTS (SELECT FROM checkin_waits w WHERE w.record = r.id)
ORDER BY r.id ON CONFLICT DO NOTHING

-- name: waits_done
DELETE FROM checkin_waits WHERE record = ANY ($1::bigint[])

-- name: waits_forget
WITH w AS (DELETE FROM checkin_waits WHERE received_at < $1)
DELETE FROM punches WHERE at < $1

-- name: clocks_waiting
SELECT w.device, d.title, d.school, count(*) AS n, min(w.received_at) AS since, max(w.received_at) AS latest,
  percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM w.received_at - w.device_time)::float8) AS lag_s,
  count(*) FILTER (WHERE w.live) AS live, s.offset_s
FROM checkin_waits w JOIN devices d ON d.id = w.device LEFT JOIN device_state s ON s.device = d.id
WHERE w.reason = 'clock' AND ($1::text[] IS NULL OR d.school = ANY ($1))
GROUP BY w.device, d.title, d.school, s.offset_s ORDER BY count(*) DESC, w.device LIMIT 200

-- name: clock_waits
SELECT record, device_time, received_at, live FROM checkin_waits WHERE device = $1 AND reason = 'clock' AND device_time IS NOT NULL ORDER BY received_at DESC LIMIT $2

-- name: offsets_of
SELECT id, device, lag_s, uncertainty_s, since, until, by_hand, actor, why, at FROM gate_offsets WHERE device = ANY ($1::text[]) ORDER BY device, id

-- name: offset_add
INSERT INTO gate_offsets (device, lag_s, uncertainty_s, since, until, by_hand, actor, why)
VALUES ($1, $2, $3, coalesce($4, '-infinity'::timestamptz), coalesce($5, 'infinity'::timestamptz), $6, $7, $8) RETURNING id

-- name: offset_extend
UPDATE gate_offsets SET until = greatest(until, $2) WHERE id = $1

-- name: person_waits
-- A page of the inbox: ids nobody is linked to, the most wanted first, and how many there are.
SELECT count(*) OVER () AS total, w.namespace, w.local, count(*) AS n, min(coalesce(w.happened, w.received_at)) AS since, max(coalesce(w.happened, w.received_at)) AS latest,
  array_agg(DISTINCT w.school) AS schools, array_agg(DISTINCT w.device) AS devices, max(w.record) AS sample
FROM checkin_waits w WHERE w.reason = 'person' AND ($1::text[] IS NULL OR w.school = ANY ($1))
GROUP BY w.namespace, w.local ORDER BY count(*) DESC, w.namespace, w.local LIMIT $2 OFFSET $3

-- name: message_bodies_of
SELECT r.id, m.body FROM records r JOIN messages m ON m.id = r.message AND m.class = r.class WHERE r.id = ANY ($1::bigint[]) AND r.class = 1

-- name: roster_of
SELECT r.key, r.body->>'learner_code' AS code, r.body->>'full_name' AS name, s.school FROM streams s JOIN records r ON r.id = s.record
WHERE s.type = 'learner' AND s.event <> 'CANCEL' AND s.school = ANY ($1::text[])

-- name: learner_there
SELECT s.key, s.school, r.body->>'full_name' AS name FROM streams s JOIN records r ON r.id = s.record WHERE s.type = 'learner' AND s.key = $1 AND s.event <> 'CANCEL'

-- name: person_lock
SELECT pg_advisory_xact_lock(hashtextextended($1 || E'\x1f' || $2, 18))

-- name: namespace_beyond
-- Whether gates of other schools than these use the namespace too, one of them is called so (its vendor's numbers may wait
-- there), or check-ins of other schools wait in it.
SELECT EXISTS (SELECT FROM devices WHERE (namespace = $1 OR id = $1) AND school <> ALL ($2::text[]))
  OR EXISTS (SELECT FROM checkin_waits WHERE namespace = $1 AND reason = 'person' AND coalesce(school <> ALL ($2::text[]), true))

-- name: person_overlap
SELECT id FROM gate_persons WHERE namespace = $1 AND local = $2 AND undone_at IS NULL
  AND since < coalesce($4, 'infinity'::timestamptz) AND until > coalesce($3, '-infinity'::timestamptz) LIMIT 1

-- name: person_link
INSERT INTO gate_persons (namespace, local, learner, since, until, actor, why)
VALUES ($1, $2, $3, coalesce($4, '-infinity'::timestamptz), coalesce($5, 'infinity'::timestamptz), $6, $7) RETURNING id

-- name: person_followers
SELECT record FROM checkin_waits WHERE namespace = $1 AND local = $2 AND reason = 'person' AND ($3::text[] IS NULL OR school = ANY ($3)) ORDER BY coalesce(happened, received_at), record

-- name: person_undo
UPDATE gate_persons SET undone_at = clock_timestamp(), undone_by = $2 WHERE id = $1 AND undone_at IS NULL RETURNING namespace, local, learner

-- name: person_used
SELECT record FROM punches WHERE link = $1

-- name: person_links
SELECT p.id, p.namespace, p.local, p.learner, p.since, p.until, p.actor, p.why, p.at,
  (SELECT count(*) FROM punches u WHERE u.link = p.id) AS n, s.school
FROM gate_persons p LEFT JOIN streams s ON s.type = 'learner' AND s.key = p.learner
WHERE p.undone_at IS NULL AND ($1::text[] IS NULL OR s.school = ANY ($1)) ORDER BY p.id DESC LIMIT $2

-- name: person_link_one
SELECT p.id, p.namespace, p.local, p.learner, s.school FROM gate_persons p LEFT JOIN streams s ON s.type = 'learner' AND s.key = p.learner
WHERE p.id = $1 AND p.undone_at IS NULL

-- name: namespace_set
UPDATE devices SET namespace = $2 WHERE id = $1 RETURNING school

-- name: namespaces_all
SELECT d.id, d.title, d.school, d.family, d.namespace FROM devices d WHERE d.state = 'active' AND ($1::text[] IS NULL OR d.school = ANY ($1)) ORDER BY d.namespace NULLS LAST, d.id LIMIT 2000
