-- Devices by the hundred: registered, revoked and looked over in one statement each.

-- name: fleet_sources
WITH wanted AS (SELECT unnest($1::text[]) AS name), made AS (
  INSERT INTO sources (kind, name) SELECT 'device', w.name FROM wanted w ORDER BY w.name
  ON CONFLICT (kind, name) DO NOTHING RETURNING id, name)
SELECT id, name FROM made
UNION ALL SELECT s.id, s.name FROM sources s JOIN wanted w ON s.kind = 'device' AND s.name = w.name

-- name: fleet_add
INSERT INTO devices (source, id, family, profile, title, school, entrance, direction, zone, secret, signing, namespace)
SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[], $11::bytea[], $12::text[])
ON CONFLICT (id) DO UPDATE SET family = excluded.family, profile = excluded.profile, title = excluded.title, school = excluded.school,
  entrance = excluded.entrance, direction = excluded.direction, zone = excluded.zone, secret = excluded.secret,
  signing = coalesce(excluded.signing, devices.signing), namespace = excluded.namespace, state = 'active'

-- name: fleet_revoke
UPDATE devices SET state = 'revoked' WHERE id = ANY ($1::text[]) AND state = 'active' RETURNING id

-- name: fleet_checkins
-- The check-ins of a fleet received since a moment, as their devices named them.
SELECT body->>'device' AS device, body->>'person_code' AS person, body->>'device_time_raw' AS raw, count(*) AS times,
  min(created_at) AS stored_at
FROM records WHERE type = 'checkin' AND class = 1 AND version = 1 AND school = ANY ($1::text[]) AND body->>'received_at' >= $2
GROUP BY 1, 2, 3
