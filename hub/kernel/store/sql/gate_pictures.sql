-- Pictures of gates that a deployment was told to keep: encrypted, for hours, every view counted.

-- name: gate_pictures_on
INSERT INTO gate_picture_gates (device, actor, why) VALUES ($1, $2, $3) ON CONFLICT (device) DO NOTHING RETURNING device

-- name: gate_pictures_off
DELETE FROM gate_picture_gates WHERE device = $1 RETURNING device

-- name: gate_pictures_drop
WITH gone AS (DELETE FROM gate_pictures WHERE device = $1 RETURNING 1) SELECT count(*) FROM gone

-- name: gate_pictures_add
-- Only of gates that are (still) switched on: whoever switches one off waits for this, and then finds what it stored.
WITH allowed AS (SELECT device FROM gate_picture_gates WHERE device = ANY ($1::text[]) ORDER BY device FOR SHARE)
INSERT INTO gate_pictures (device, school, message, kind, bytes, sealed, kept_at, expires_at)
SELECT w.device, w.school, w.message, w.kind, w.bytes, w.sealed, c.now, c.now + $7::float8 * interval '1 hour'
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::int[], $6::bytea[]) w(device, school, message, kind, bytes, sealed)
JOIN allowed a ON a.device = w.device CROSS JOIN (SELECT clock_timestamp() AS now) c
ON CONFLICT (message) DO NOTHING RETURNING id

-- name: gate_pictures_of
SELECT p.id, p.message, p.school, p.kind, p.bytes, p.kept_at, p.expires_at, p.views, p.viewed_at, r.id AS record, r.body->>'person_code' AS person
FROM gate_pictures p LEFT JOIN LATERAL (
  SELECT x.id, x.body FROM records x WHERE x.message = p.message AND x.type = 'checkin' ORDER BY x.id LIMIT 1) r ON true
WHERE p.device = $1 AND p.expires_at > clock_timestamp() AND ($2::text[] IS NULL OR p.school = ANY ($2)) AND p.id < $3
ORDER BY p.id DESC LIMIT $4

-- name: gate_picture_see
UPDATE gate_pictures SET views = views + 1, viewed_at = clock_timestamp()
WHERE id = $1 AND device = $2 AND expires_at > clock_timestamp() AND ($3::text[] IS NULL OR school = ANY ($3))
RETURNING id, device, school, message, kind, bytes, sealed, kept_at, expires_at, views

-- name: gate_pictures_sweep
-- Everything where nothing may be kept any more (0 hours); else what is past its time, also by a time made shorter since.
WITH gone AS (
  DELETE FROM gate_pictures WHERE expires_at <= clock_timestamp() OR kept_at <= clock_timestamp() - $1::float8 * interval '1 hour' RETURNING 1)
SELECT count(*) FROM gone

-- name: gate_picture_gate
SELECT actor, why, since FROM gate_picture_gates WHERE device = $1
