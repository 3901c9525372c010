-- name: clients_all
SELECT id, title, secret_hash, key_hash, scope_kind, scope_code, rights FROM clients WHERE state = 'active'

-- name: client_add
INSERT INTO clients (source, id, title, secret_hash, key_hash, scope_kind, scope_code, rights)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO UPDATE SET title = excluded.title, secret_hash = excluded.secret_hash, key_hash = excluded.key_hash,
  scope_kind = excluded.scope_kind, scope_code = excluded.scope_code, rights = excluded.rights, state = 'active'

-- name: client_block
UPDATE clients SET state = 'blocked' WHERE id = $1 AND state = 'active' RETURNING id

-- name: devices_all
-- `places`: where one that has moved stood from when, oldest first. `trace`: the one that runs now. `pictures`: whether they are kept.
-- `offset_age_s`: how long ago its clock was learnt. `highest`: of the numbers it gives. `split_s`: for how long some have been missing.
SELECT d.id, d.family, d.profile, d.title, d.school, d.entrance, d.direction, d.zone, d.secret, d.signing, s.offset_s, d.generation,
  extract(epoch FROM clock_timestamp() - s.offset_at)::float8 AS offset_age_s, s.stamp, upper(s.numbers) - 1 AS highest,
  extract(epoch FROM clock_timestamp() - s.split_at)::float8 AS split_s,
  CASE WHEN d.old_until > clock_timestamp() THEN d.old_secret END AS old_secret, p.places, t.trace,
  EXISTS (SELECT 1 FROM gate_picture_gates k WHERE k.device = d.id) AS pictures
FROM devices d LEFT JOIN device_state s ON s.device = d.id
LEFT JOIN (SELECT device, jsonb_agg(jsonb_build_object('since', CASE WHEN isfinite(since) THEN extract(epoch FROM since) ELSE 0 END,
    'school', school, 'entrance', entrance, 'direction', direction) ORDER BY since, id) AS places
  FROM gate_places GROUP BY device) p ON p.device = d.id
LEFT JOIN (SELECT device, max(id) AS trace FROM gate_traces WHERE until > clock_timestamp() GROUP BY device) t ON t.device = d.id
WHERE d.state = 'active' AND ($1::text[] IS NULL OR d.id = ANY ($1) OR (d.signing IS NOT NULL AND d.family IN (
  SELECT o.family FROM devices o WHERE o.id = ANY ($1) AND o.signing IS NOT NULL)))

-- name: device_add
INSERT INTO devices (source, id, family, profile, title, school, entrance, direction, zone, secret, signing, namespace)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (id) DO UPDATE SET family = excluded.family, profile = excluded.profile, title = excluded.title, school = excluded.school,
  entrance = excluded.entrance, direction = excluded.direction, zone = excluded.zone, secret = excluded.secret,
  signing = coalesce(excluded.signing, devices.signing), namespace = excluded.namespace, state = 'active'

-- name: device_revoke
UPDATE devices SET state = 'revoked' WHERE id = $1 AND state = 'active' RETURNING id

-- name: device_touch
-- `seen`, `happened`: null means now, unless it is not known: not `heard`, not `timed`. What was read from a gate's list happened before,
-- and puts nothing back. One that was never heard of has no state to count in.
INSERT INTO device_state (device, seen_at, online, offset_s, events, quarantined, images_removed, last_event_at, offset_at)
SELECT w.device, CASE WHEN w.heard THEN least(w.seen, clock_timestamp()) ELSE s.seen_at END, w.online, w.offset_s, w.events, w.quarantined,
       w.images, CASE WHEN w.events > 0 AND w.timed THEN least(w.happened, clock_timestamp()) END,
       CASE WHEN w.offset_s IS NOT NULL THEN clock_timestamp() END
FROM unnest($1::text[], $2::boolean[], $3::float8[], $4::bigint[], $5::bigint[], $6::bigint[], $7::timestamptz[], $8::timestamptz[],
    $9::boolean[], $10::boolean[])
  w(device, online, offset_s, events, quarantined, images, happened, seen, timed, heard)
JOIN devices d ON d.id = w.device LEFT JOIN device_state s ON s.device = w.device
WHERE w.heard OR s.device IS NOT NULL ORDER BY w.device
ON CONFLICT (device) DO UPDATE SET seen_at = greatest(excluded.seen_at, device_state.seen_at), online = coalesce(excluded.online, device_state.online),
  offset_s = coalesce(excluded.offset_s, device_state.offset_s), offset_at = coalesce(excluded.offset_at, device_state.offset_at), events = device_state.events + excluded.events,
  quarantined = device_state.quarantined + excluded.quarantined, images_removed = device_state.images_removed + excluded.images_removed,
  last_event_at = greatest(excluded.last_event_at, device_state.last_event_at)

-- name: receipt_messages
SELECT m.id, m.class, m.source, m.type, m.school, m.received_at, m.upload, m.chunk, m.duplicate_of,
  coalesce(m.outcome, x.outcome) AS outcome, coalesce(m.items, x.items) AS items, coalesce(m.rejected, x.rejected) AS rejected,
  coalesce(m.records, x.records) AS records
FROM messages m LEFT JOIN message_results x ON x.message = m.id AND x.class = m.class
WHERE m.id = $1 OR (m.upload = $1 AND m.duplicate_of IS NULL)
ORDER BY m.chunk NULLS FIRST, m.id

-- name: receipt_upload
SELECT u.id, u.type, u.school, u.started_at, u.finished_at, s.kind, s.name FROM uploads u JOIN sources s ON s.id = u.source WHERE u.id = $1

-- name: receipt_source
SELECT kind, name FROM sources WHERE id = $1

-- name: receipt_records
SELECT r.id, r.class, r.message, r.pointer, r.type, r.key, r.event, r.version, r.disposition, r.school
FROM records r WHERE r.message = ANY ($1::bigint[]) AND r.id > $2 AND r.disposition <> 4 ORDER BY r.id LIMIT $3

-- name: receipt_rejects
SELECT message, pointer, code, key, text FROM rejects WHERE message = ANY ($1::bigint[]) ORDER BY message LIMIT $2

-- name: receipt_deliveries
SELECT d.record, d.connector, d.state, d.since AS at, d.cause, d.attempts, t.text AS task
FROM deliveries d LEFT JOIN tasks t ON t.id = d.task WHERE d.record = ANY ($1::bigint[])
UNION ALL
SELECT c.record, c.connector, c.state, c.closed_at, c.cause, c.attempts,
  CASE WHEN c.state = 8 AND c.detail IS NOT NULL
    THEN jsonb_build_object('vi', split_part(c.detail, ' / ', 1), 'en', split_part(c.detail, ' / ', 2)) END
FROM deliveries_closed c WHERE c.record = ANY ($1::bigint[])
ORDER BY 1, 2, 4
