-- Look-ups: their log, the conversations that go on later, and the verification of rosters.

-- name: conversations_of
SELECT delivery, state FROM conversations WHERE delivery = ANY ($1::bigint[])

-- name: conversations_put
INSERT INTO conversations (delivery, connector, state, reference)
SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::jsonb[], $4::text[])
ON CONFLICT (delivery) DO UPDATE SET state = excluded.state, reference = coalesce(excluded.reference, conversations.reference), at = clock_timestamp()

-- name: conversations_end
DELETE FROM conversations WHERE delivery = ANY ($1::bigint[])

-- name: conversations_tidy
-- Of deliveries a person ended meanwhile. A minute's grace: the delivery and its conversation are written together.
DELETE FROM conversations c
WHERE c.at < clock_timestamp() - interval '1 minute' AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.id = c.delivery)

-- name: lookups_inputs
SELECT DISTINCT ON (request_id) request_id, input_hash FROM lookups WHERE request_id = ANY ($1::text[]) ORDER BY request_id, call

-- name: lookups_recent
-- The log without the inputs' hashes, latest first. $2: schools that may be seen, NULL for all; $1: before this call.
SELECT l.call, l.at, l.request_id, l.officer, l.purpose, l.from_call, c.name AS connector, coalesce(d.key, x.key) AS key, coalesce(d.school, x.school) AS school
FROM lookups l JOIN connectors c ON c.id = l.connector
LEFT JOIN deliveries d ON d.id = l.delivery
LEFT JOIN LATERAL (SELECT key, school FROM deliveries_closed WHERE id = l.delivery LIMIT 1) x ON d.id IS NULL
WHERE l.call < $1 AND ($2::text[] IS NULL OR coalesce(d.school, x.school) = ANY ($2))
ORDER BY l.call DESC LIMIT $3

-- name: verification_open
-- The digest names the request at its sender: the same one finds the same verification.
INSERT INTO verifications (id, digest, body_digest, actor, school, kind, purpose, officer, items)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT DO NOTHING RETURNING id

-- name: verification_like
-- The one this request was answered with before, else the one that still runs for the school.
SELECT id, body_digest, digest IS NOT DISTINCT FROM $1 AND digest IS NOT NULL AS same FROM verifications
WHERE digest = $1 OR (school = $2 AND kind = $3 AND state = 'open') ORDER BY same DESC LIMIT 1

-- name: verification_roster
-- A code given in place of a temporary one only points to its learner: who has one is asked about once.
WITH roster AS (
  INSERT INTO verification_items (verification, learner, record, class)
  SELECT $1, s.key, s.record, $4 FROM streams s
  WHERE s.type = 'learner' AND s.event <> 'CANCEL' AND s.event <> 'MOVED' AND s.school = $2 AND ($3::text[] IS NULL OR s.key = ANY ($3))
  RETURNING 1),
counted AS (SELECT count(*)::int AS n FROM roster)
UPDATE verifications v SET items = counted.n FROM counted WHERE v.id = $1 RETURNING v.items

-- name: verifications_due
-- Schools with learners whose latest verification of the kind began before $2, or that never had one. $3 at most, longest ago first.
SELECT r.school FROM
  (SELECT DISTINCT school FROM streams WHERE type = 'learner' AND event <> 'CANCEL' AND event <> 'MOVED' AND school IS NOT NULL) r
LEFT JOIN LATERAL (SELECT created_at FROM verifications v WHERE v.school = r.school AND v.kind = $1 ORDER BY v.id DESC LIMIT 1) last ON true
WHERE last.created_at IS NULL OR last.created_at < $2
ORDER BY last.created_at NULLS FIRST, r.school LIMIT $3

-- name: verifications_open
SELECT id, actor FROM verifications WHERE state = 'open' ORDER BY id LIMIT $1

-- name: verification_lock
SELECT id, actor, school, kind, purpose, officer, created_at FROM verifications WHERE id = $1 AND state = 'open' FOR UPDATE SKIP LOCKED

-- name: verification_hold
-- Waits for whoever is at it: what a person decides is not skipped.
SELECT id FROM verifications WHERE id = $1 AND state = 'open' FOR UPDATE

-- name: verification_next
SELECT i.learner, i.record, i.class FROM verification_items i WHERE i.verification = $1 AND i.state = 'waiting' ORDER BY i.learner LIMIT $2

-- name: verification_asked
UPDATE verification_items i SET state = w.state, request = w.request, reasons = w.reasons
FROM (SELECT u.learner, u.state, u.request, CASE WHEN u.reason IS NULL THEN NULL ELSE ARRAY[u.reason] END AS reasons
      FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[]) u(learner, state, request, reason)) w
WHERE i.verification = $1 AND i.learner = w.learner AND i.state = 'waiting'
RETURNING i.learner

-- name: verification_settle
-- What became of the questions: the answer's record where there is one, else the end of the delivery. A question's code has
-- ":" where a learner's key has "@", in questions of an earlier version "@" itself.
WITH asked AS (
  SELECT i.verification, i.learner, i.request FROM verification_items i
  WHERE i.verification = $1 AND i.state = 'asked'
    AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.record = i.request) LIMIT $2),
ended AS (
  SELECT a.learner, a.request, x.state,
    (SELECT r.body FROM records r WHERE r.key = a.learner AND r.type = 'population_check' AND r.class = $3 AND r.id > $1
       AND replace(r.body ->> 'request_code', '@', ':') = replace(a.verification || '/' || a.learner, '@', ':') ORDER BY r.id DESC LIMIT 1) AS body
  FROM asked a
  CROSS JOIN LATERAL (SELECT state FROM deliveries_closed c WHERE c.record = a.request ORDER BY c.id DESC LIMIT 1) x)
UPDATE verification_items i
SET state = CASE WHEN e.body IS NOT NULL THEN 'answered' WHEN e.state = 9 THEN 'cancelled' ELSE 'failed' END,
    verdict = e.body ->> 'verdict', checked_at = (e.body ->> 'checked_at')::timestamptz,
    differing = CASE WHEN e.body ? 'differing' THEN ARRAY(SELECT jsonb_array_elements_text(e.body -> 'differing')) END,
    reasons = CASE WHEN e.body ? 'reasons' THEN ARRAY(SELECT jsonb_array_elements_text(e.body -> 'reasons')) END
FROM ended e WHERE i.verification = $1 AND i.learner = e.learner AND i.state = 'asked'
RETURNING i.learner

-- name: verification_finish
UPDATE verifications v SET state = 'done', finished_at = clock_timestamp()
WHERE v.id = $1 AND v.state = 'open'
  AND NOT EXISTS (SELECT 1 FROM verification_items i WHERE i.verification = v.id AND i.state IN ('waiting', 'asked'))
RETURNING v.id

-- name: verification_cancel
WITH v AS (UPDATE verifications SET state = 'cancelled', finished_at = clock_timestamp() WHERE id = $1 AND state = 'open' RETURNING id)
UPDATE verification_items i SET state = 'cancelled' FROM v WHERE i.verification = v.id AND i.state = 'waiting'
RETURNING i.learner

-- name: verification_room
-- How many questions a connector can still take up today ($3: most it should have in hand), by its own quota of the day.
SELECT greatest(0, least($2::bigint, CASE WHEN q.per_day IS NULL THEN $2::bigint ELSE q.per_day - q.used END)
  - (SELECT count(*) FROM deliveries d WHERE d.connector = $1))::int
FROM (SELECT (c.settings -> 'policy' -> 'quota' ->> 'per_day')::bigint AS per_day,
        coalesce((SELECT CASE WHEN day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date THEN day_used ELSE 0 END
                  FROM quotas WHERE connector = $1), 0) AS used
      FROM connectors c WHERE c.id = $1) q

-- name: verification_bodies
SELECT id, body, updated_at FROM records WHERE class = $1 AND id = ANY ($2::bigint[])

-- name: verification_requests
SELECT id, key FROM records WHERE message = $1 AND class = $2

-- name: verification_one
SELECT v.*, s.name AS school_name, x.*
FROM verifications v LEFT JOIN schools s ON s.code = v.school
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE i.state = 'waiting')::int AS waiting, count(*) FILTER (WHERE i.state = 'asked')::int AS asked,
    count(*) FILTER (WHERE i.state = 'answered')::int AS answered, count(*) FILTER (WHERE i.state = 'skipped')::int AS skipped,
    count(*) FILTER (WHERE i.state = 'failed')::int AS failed, count(*) FILTER (WHERE i.state = 'cancelled')::int AS cancelled,
    count(*) FILTER (WHERE i.verdict = 'match')::int AS match, count(*) FILTER (WHERE i.verdict = 'partial')::int AS partial,
    count(*) FILTER (WHERE i.verdict = 'mismatch')::int AS mismatch, count(*) FILTER (WHERE i.verdict = 'not_found')::int AS not_found
  FROM verification_items i WHERE i.verification = v.id) x
WHERE v.id = $1

-- name: verifications_list
SELECT v.id, v.school, v.kind, v.purpose, v.officer, v.state, v.items, v.created_at, v.finished_at, s.name AS school_name,
  (SELECT count(*)::int FROM verification_items i WHERE i.verification = v.id AND i.state IN ('waiting', 'asked')) AS open
FROM verifications v LEFT JOIN schools s ON s.code = v.school
WHERE v.id < $1 AND ($2::text[] IS NULL OR v.school = ANY ($2)) ORDER BY v.id DESC LIMIT $3

-- name: verification_results
-- A page of items with what the school needs to know whom a line is about: `learner` is the key, `learner_code` the code they
-- have by now. $4: only items that need somebody's eye.
SELECT i.learner, coalesce((SELECT g.code FROM codes_given g WHERE g.anchor = i.learner), split_part(i.learner, '@', 1)) AS learner_code, i.state, i.verdict, i.differing, i.reasons, i.checked_at, r.body ->> 'full_name' AS full_name,
  r.body ->> 'class_code' AS class_code, r.body ->> 'personal_number' AS personal_number, p.state AS delivery_state
FROM verification_items i
LEFT JOIN LATERAL (SELECT body FROM records WHERE id = i.record AND class = i.class) r ON true
LEFT JOIN LATERAL (SELECT state FROM deliveries d WHERE d.record = i.request LIMIT 1) p ON true
WHERE i.verification = $1 AND i.learner > $2
  AND (NOT $4::boolean OR i.state IN ('skipped', 'failed') OR i.verdict <> 'match')
ORDER BY i.learner LIMIT $3

-- name: verifications_forget
DELETE FROM verifications WHERE finished_at < clock_timestamp() - $1::int * interval '1 day'
