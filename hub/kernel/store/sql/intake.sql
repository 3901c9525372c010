-- name: take_ids
SELECT array_agg(nextval('ids') ORDER BY g) AS starts,
       (now() AT TIME ZONE 'UTC')::date - date '2020-01-01' AS day
FROM generate_series(1, $1::int) g

-- name: intake_look
SELECT * FROM intake_look($1, $2, $3, $4, $5, $6, $7, $8)

-- name: intake_look_passages
-- The same, and what is asked of check-ins with it: behind the keys and locks, which it is handed so that it comes behind them.
SELECT i.*, p.* FROM intake_look($1, $2, $3, $4, $5, $6, $7, $8) i
CROSS JOIN LATERAL passage_look($9, $10, $11, $12, $13, $14, $15, i.taken) p

-- name: intake_write
-- A few messages with all that belongs to them in one round trip, what `passages_write` writes with them; many go by COPY.
WITH m AS (
  INSERT INTO messages (id, class, source, type, school, content_type, digest, body, removed, attributes, upload, chunk, duplicate_of,
    outcome, items, rejected, records)
  SELECT * FROM unnest($1::intake_message[])),
j AS (
  INSERT INTO journal (id, class, actor, kind, connector, subject, ids, data, leaves) SELECT * FROM unnest($2::intake_line[])),
r AS (
  INSERT INTO records (id, class, message, pointer, type, key, event, version, updated_at, school, body, content, catalogue, disposition, due)
  SELECT * FROM unnest($3::intake_record[])),
s AS (
  INSERT INTO streams (type, key, version, event, content, identity, record, school) SELECT * FROM unnest($4::intake_stream[])
  ON CONFLICT (type, key) DO UPDATE SET version = excluded.version, event = excluded.event, content = excluded.content,
    identity = excluded.identity, record = excluded.record, school = excluded.school),
d AS (
  INSERT INTO deliveries (id, record, connector, class, state, order_key, rank, due_at, flow, key, school, cause, replay_of)
  SELECT * FROM unnest($5::intake_delivery[])),
p AS (
  INSERT INTO punches (place, at, record, leader, link)
  SELECT * FROM unnest($6::bigint[], $7::timestamptz[], $8::bigint[], $9::bigint[], $10::bigint[])
  ON CONFLICT (place, at, record) DO UPDATE SET leader = excluded.leader, link = excluded.link),
w AS (
  INSERT INTO checkin_waits (record, reason, device, namespace, local, school, device_time, received_at, happened, live)
  SELECT * FROM unnest($11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::boolean[])
  ON CONFLICT (record) DO UPDATE SET reason = excluded.reason, namespace = excluded.namespace, local = excluded.local, happened = excluded.happened)
INSERT INTO rejudgements (record) SELECT DISTINCT u FROM unnest($21::bigint[]) u ORDER BY 1 ON CONFLICT DO NOTHING

-- name: message_there
SELECT EXISTS (SELECT FROM messages WHERE id = $1)

-- name: keys_known
SELECT digest, message, body_digest FROM intake_keys WHERE digest = ANY ($1::uuid[])

-- name: order_locks
SELECT count(pg_advisory_xact_lock(k)) FROM unnest($1::bigint[]) k

-- name: streams_write
INSERT INTO streams (type, key, version, event, content, identity, record, school) SELECT * FROM unnest($1::intake_stream[])
ON CONFLICT (type, key) DO UPDATE SET version = excluded.version, event = excluded.event, content = excluded.content,
  identity = excluded.identity, record = excluded.record, school = excluded.school

-- name: open_keys
SELECT w.connector, w.order_key
FROM unnest($1::smallint[], $2::bigint[]) w(connector, order_key)
CROSS JOIN LATERAL (
  SELECT 1 FROM deliveries d WHERE d.connector = w.connector AND d.order_key = w.order_key AND NOT d.aside LIMIT 1) x

-- name: supersede
WITH gone AS (
  DELETE FROM deliveries d USING unnest($1::smallint[], $2::bigint[]) w(connector, order_key)
  WHERE d.connector = w.connector AND d.order_key = w.order_key AND d.flow = $3 AND d.state IN (1, 2) AND d.resend IS NULL
  RETURNING d.*),
closed AS (
  INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause, replay_of)
  SELECT id, class, seq, record, connector, 9, attempts, created_at, flow, key, school, 'superseded', replay_of FROM gone)
SELECT DISTINCT connector, order_key FROM gone WHERE state = 2

-- name: inbox_claim
SELECT i.message, i.class, i.tries, m.source, m.type, m.school, m.content_type, m.body, m.received_at, m.attributes, m.digest, s.kind, s.name
FROM inbox i JOIN messages m ON m.id = i.message AND m.class = i.class JOIN sources s ON s.id = m.source
WHERE i.due_at <= clock_timestamp()
ORDER BY i.message LIMIT $1
FOR UPDATE OF i SKIP LOCKED

-- name: inbox_done
DELETE FROM inbox WHERE message = ANY ($1::bigint[])

-- name: inbox_again
UPDATE inbox SET tries = tries + 1, problem = $2, due_at = clock_timestamp() + least(2 ^ tries, 300) * interval '1 second'
WHERE message = $1

-- name: sources_known
SELECT s.id, s.kind, s.name FROM unnest($1::text[], $2::text[]) w(kind, name) JOIN sources s ON s.kind = w.kind AND s.name = w.name

-- name: sources_add
-- Sorted, so that two processes that meet the same ones cannot wait for each other.
INSERT INTO sources (kind, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (kind, name) DO UPDATE SET name = excluded.name RETURNING id, kind, name

-- name: upload_open
INSERT INTO uploads (id, digest, source, type, school) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (digest) DO NOTHING RETURNING id

-- name: upload_find
SELECT id, finished_at FROM uploads WHERE digest = $1

-- name: upload_finish
UPDATE uploads SET finished_at = coalesce(finished_at, clock_timestamp()) WHERE id = $1

-- name: schools_all
SELECT code, name, ward, level FROM schools

-- name: school_write
INSERT INTO schools (code, name, ward, level)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
ON CONFLICT (code) DO UPDATE SET name = excluded.name, ward = excluded.ward, level = excluded.level

-- name: results_of
SELECT message, records FROM message_outcomes WHERE message = ANY ($1::bigint[])
