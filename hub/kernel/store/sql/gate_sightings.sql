-- Passages without a name in common: what a list tells, and what is pushed afterwards.

-- name: gate_sightings_meet
SELECT gate_sightings_meet($1, $2, $3, $4, $5, $6, $7, $8)

-- name: gate_sightings_hold
-- In a statement of its own: what is read next sees what was committed before this was granted.
SELECT count(pg_advisory_xact_lock(7029, h)) FROM (SELECT DISTINCT hashtext(d) AS h FROM unnest($1::text[]) d ORDER BY 1) o

-- name: gate_sightings_note
INSERT INTO gate_sightings (message, device, at_ms, alias, vendor) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::uuid[])

-- name: gate_sightings_forget
DELETE FROM gate_sightings WHERE noted_at < clock_timestamp() - $1::int * interval '1 day'

-- name: gate_sightings_learners
-- Whom sightings that tell one number alone mean, in their order.
SELECT CASE WHEN w.alias <> '' THEN gate_learner_of(d.namespace, w.alias, w.at)
  ELSE gate_learner_of(coalesce(d.namespace, w.device), w.vendor, w.at) END AS learner
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) WITH ORDINALITY w(device, alias, vendor, at, n)
LEFT JOIN devices d ON d.id = w.device ORDER BY w.n

-- name: gate_seen
-- Passages of devices the ledger has in a span: what a list without common names is compared with.
-- By the device's own time, as the list has it, not by the corrected one. What came may have come a clock's day before its time.
-- A person whose number stands for a learner has that learner's code; `local_id` is what the device said.
-- `vendor`: what its word told of the vendor's own number (see `ledger/gate_sightings`), NULL where that was not kept.
SELECT w.device, coalesce(r.body->>'local_id', r.body->>'person_code') AS person, r.key, r.message,
  (SELECT m.attributes->>'sighting' FROM messages m WHERE m.id = r.message AND m.class = 1) AS vendor,
  gate_learner_of(r.body->>'namespace', coalesce(r.body->>'local_id', r.body->>'person_code'), r.updated_at) AS learner,
  r.updated_at + coalesce((r.body->>'estimated_offset_s')::float8, 0) * interval '1 second' AS sent
FROM unnest($1::text[]) w(device) JOIN records r ON r.key >= w.device || '/' AND r.key < w.device || '0'
WHERE r.class = 1 AND r.id >= id_day(($2::timestamptz AT TIME ZONE 'UTC')::date - 2) AND r.type = 'checkin'
  AND r.updated_at >= $2 AND r.updated_at < $3
