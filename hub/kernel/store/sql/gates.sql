-- The registry of gates: registered, enrolled, rotated, moved, replaced, revoked, traced.

-- name: gate_lock
SELECT id, source, family, profile, title, school, entrance, direction, zone, secret, signing, state, serial, model, generation, namespace
FROM devices WHERE id = $1 FOR UPDATE

-- name: gates_known
SELECT id, state, school, family FROM devices WHERE id = ANY ($1::text[])

-- name: namespaces_taken
-- Of these names, those that are the namespace of other gates, or of links.
SELECT w.name FROM unnest($1::text[]) w(name)
WHERE EXISTS (SELECT FROM devices d WHERE d.namespace = w.name AND d.id <> w.name)
  OR EXISTS (SELECT FROM gate_persons p WHERE p.namespace = w.name AND p.undone_at IS NULL)
ORDER BY w.name

-- name: namespace_shared
-- Whether other gates too have the namespace that is called like this one.
SELECT EXISTS (SELECT FROM devices WHERE namespace = $1 AND id <> $1)

-- name: gates_describe
UPDATE devices d SET serial = w.serial, model = w.model, replaced_by = NULL
FROM unnest($1::text[], $2::text[], $3::text[]) w(id, serial, model) WHERE d.id = w.id

-- name: gate_note
INSERT INTO gate_history (device, actor, kind, data) SELECT w.device, $2, $3, w.data FROM unnest($1::text[], $4::jsonb[]) w(device, data)

-- name: gate_history_of
SELECT id, at, actor, kind, data FROM gate_history WHERE device = $1 ORDER BY id DESC LIMIT 200

-- name: gate_places_of
SELECT p.school, p.entrance, p.direction, nullif(p.since, '-infinity') AS since, p.actor, p.why, p.at FROM gate_places p
WHERE p.device = $1 ORDER BY p.since DESC, p.id DESC LIMIT 100

-- name: gate_codes_end
UPDATE gate_codes SET expires_at = clock_timestamp() WHERE device = ANY ($1::text[]) AND used_at IS NULL AND expires_at > clock_timestamp()

-- name: gate_codes_add
INSERT INTO gate_codes (hash, device, actor, expires_at)
SELECT w.hash, w.device, $3, clock_timestamp() + $4::interval FROM unnest($1::bytea[], $2::text[]) w(hash, device)

-- name: gate_code_use
UPDATE gate_codes SET used_at = clock_timestamp() WHERE hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp() RETURNING device

-- name: gate_secret_set
-- With an overlap, the secret before goes on opening for so long, under the name it has at the broker.
UPDATE devices SET old_secret = CASE WHEN $3::interval > interval '0' THEN secret END,
  old_until = CASE WHEN $3::interval > interval '0' THEN clock_timestamp() + $3 END,
  secret = $2, generation = generation + ($3::interval > interval '0')::int WHERE id = $1 RETURNING generation, old_until

-- name: gates_sign
UPDATE devices SET signing = $2 WHERE id = ANY ($1::text[]) AND state = 'active' RETURNING id

-- name: gates_old_secrets_end
UPDATE devices SET old_secret = NULL, old_until = NULL WHERE old_until < clock_timestamp() RETURNING id

-- name: gate_place_first
-- Where it stood until its first move; nothing for one that has moved before.
INSERT INTO gate_places (device, school, entrance, direction, since, actor, why)
SELECT id, school, entrance, direction, '-infinity', $2, $3 FROM devices WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM gate_places WHERE device = $1)

-- name: gate_place_add
INSERT INTO gate_places (device, school, entrance, direction, since, actor, why) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: gates_settle
-- Moves whose time has come: the registry says where a gate stands now.
UPDATE devices d SET school = p.school, entrance = p.entrance, direction = p.direction
FROM (SELECT DISTINCT ON (device) device, school, entrance, direction FROM gate_places
      WHERE since <= clock_timestamp() AND ($1::text IS NULL OR device = $1) ORDER BY device, since DESC, id DESC) p
WHERE d.id = p.device AND (d.school, d.entrance, d.direction) IS DISTINCT FROM (p.school, p.entrance, p.direction)
RETURNING d.id

-- name: gates_revoke
UPDATE devices SET state = 'revoked', old_secret = NULL, old_until = NULL WHERE id = ANY ($1::text[]) AND state = 'active' RETURNING id

-- name: gate_replaced
UPDATE devices SET replaced_by = $2 WHERE id = $1

-- name: gate_trace_start
INSERT INTO gate_traces (device, actor, purpose, until, most) VALUES ($1, $2, $3, clock_timestamp() + $4::interval, $5) RETURNING id

-- name: gate_trace_stop
UPDATE gate_traces SET until = clock_timestamp() WHERE device = $1 AND until > clock_timestamp()

-- name: gate_trace_lines_add
-- Only while the trace runs, and no more than it may hold.
INSERT INTO gate_trace_lines (trace, at, line)
SELECT t.id, w.at, w.line
FROM (SELECT u.*, row_number() OVER (PARTITION BY u.trace ORDER BY u.at) AS n FROM unnest($1::bigint[], $2::timestamptz[], $3::jsonb[]) u(trace, at, line)) w
JOIN gate_traces t ON t.id = w.trace AND t.until > clock_timestamp()
WHERE w.n + (SELECT count(*) FROM gate_trace_lines l WHERE l.trace = t.id) <= t.most

-- name: gate_trace_latest
SELECT id, actor, purpose, started_at, until, most, until > clock_timestamp() AS running FROM gate_traces WHERE device = $1 ORDER BY id DESC LIMIT 1

-- name: gate_trace_lines_of
SELECT at, line FROM gate_trace_lines WHERE trace = $1 ORDER BY id DESC LIMIT 1000

-- name: gate_traces_forget
DELETE FROM gate_traces WHERE until < clock_timestamp() - interval '1 day'

-- name: gates_standing
-- What the console shows of gates. `held`: kinds of alarms that stand about it; `backlog`: spans it still owes: those it was asked to send
-- again, holes in its own numbering, and one for a list that could not be read or is a minute overdue. One whose last word was the answer to
-- its list (`g`) is silent from when it is to be asked again, which is within the hour; not one whose list is that of a `place`: there a
-- vendor's cloud answers.
SELECT d.id, d.family, d.profile, d.title, d.school, d.entrance, d.direction, d.zone, d.state, d.registered_at, d.serial, d.model, d.replaced_by,
  d.namespace, d.old_until, s.seen_at, s.online, s.offset_s, coalesce(s.events, 0) AS events, coalesce(s.quarantined, 0) AS quarantined,
  coalesce(s.images_removed, 0) AS images_removed, s.last_event_at, extract(epoch FROM clock_timestamp() - greatest(s.seen_at, g.due))::float8 AS silent_s,
  coalesce(a.kinds, '{}') AS held, coalesce(c.n, 0) + coalesce(m.n, 0) + coalesce(l.n, 0) AS backlog
FROM devices d LEFT JOIN device_state s ON s.device = d.id
LEFT JOIN (SELECT subject, array_agg(kind ORDER BY kind) AS kinds FROM alarms
  WHERE ended_at IS NULL AND kind IN ('gate_flood', 'gate_flapping', 'silent_gate') GROUP BY subject) a ON a.subject = d.id
LEFT JOIN (SELECT device, count(*) AS n FROM gate_commands WHERE state IN ('waiting', 'sent') GROUP BY device) c ON c.device = d.id
LEFT JOIN (SELECT device, jsonb_array_length(holes) AS n FROM gate_memory WHERE jsonb_typeof(holes) = 'array') m ON m.device = d.id
LEFT JOIN (SELECT device, 1 AS n FROM gate_lists
  WHERE fault IS NOT NULL OR due_at < clock_timestamp() - interval '1 minute') l ON l.device = d.id
LEFT JOIN (SELECT device, finished_at, least(due_at, finished_at + interval '1 hour', clock_timestamp()) AS due FROM gate_lists
  WHERE fault IS NULL AND coalesce(settings->>'place', '') = '') g
  ON g.device = d.id AND s.seen_at >= g.finished_at AND s.seen_at < g.finished_at + interval '1 minute'
WHERE ($1::text[] IS NULL OR d.school = ANY ($1)) AND ($2::text IS NULL OR d.id = $2)
ORDER BY d.state, d.school, d.id LIMIT 20000
