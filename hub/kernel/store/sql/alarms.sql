-- name: alarms_watch
-- One read of what is open for all connectors together.
SELECT c.name, c.state, c.pause_cause, c.pause_message,
  extract(epoch FROM clock_timestamp() - d.oldest)::float8 AS oldest_s, coalesce(d.n, 0) AS n
FROM connectors c
LEFT JOIN (SELECT connector, min(created_at) AS oldest, count(*) AS n FROM deliveries GROUP BY connector) d ON d.connector = c.id

-- name: alarms_standing
SELECT kind, count(*) AS n FROM alarms WHERE ended_at IS NULL GROUP BY kind

-- name: alarm_start
INSERT INTO alarms (kind, subject, text)
SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])
ON CONFLICT (kind, subject) WHERE ended_at IS NULL DO NOTHING
RETURNING id, kind, subject, text

-- name: alarm_end
UPDATE alarms SET ended_at = clock_timestamp()
WHERE ended_at IS NULL AND NOT (kind || ' ' || subject = ANY ($1::text[])) AND kind = ANY ($2::text[])
RETURNING id, kind, subject, text

-- name: alarms_of_kind
SELECT subject FROM alarms WHERE kind = $1 AND ended_at IS NULL

-- name: alarm_end_of
-- Those of the subjects that were looked at, and no others.
UPDATE alarms SET ended_at = clock_timestamp() WHERE ended_at IS NULL AND kind = $1 AND subject = ANY ($2::text[])
RETURNING id, kind, subject, text

-- name: alarms_recent
SELECT id, kind, subject, text, started_at, ended_at FROM alarms
WHERE ended_at IS NULL OR ended_at > now() - interval '1 day' ORDER BY ended_at NULLS FIRST, started_at DESC LIMIT 100

-- name: alarm_lock
SELECT pg_try_advisory_xact_lock(7003)

-- name: promote_orphans
-- A held delivery whose key has no active one at all. There should never be any: whoever ends a head promotes the next.
WITH keys AS (
  SELECT DISTINCT h.connector, h.order_key FROM deliveries h
  WHERE h.state = 1 AND h.since < clock_timestamp() - interval '1 minute' AND NOT EXISTS (
    SELECT 1 FROM deliveries a WHERE a.connector = h.connector AND a.order_key = h.order_key AND a.state <> 1 AND NOT a.aside)
  LIMIT 1000)
SELECT connector, order_key FROM keys ORDER BY order_key

-- name: promote_checked
WITH n AS (
  SELECT x.id FROM unnest($1::smallint[], $2::bigint[]) w(connector, order_key)
  CROSS JOIN LATERAL (
    SELECT h.id FROM deliveries h
    WHERE h.connector = w.connector AND h.order_key = w.order_key AND h.state = 1 AND NOT EXISTS (
      SELECT 1 FROM deliveries a WHERE a.connector = w.connector AND a.order_key = w.order_key AND a.state <> 1 AND NOT a.aside)
    ORDER BY h.seq LIMIT 1) x)
UPDATE deliveries d SET state = 2, cause = 'promoted', since = clock_timestamp() FROM n WHERE d.id = n.id
RETURNING d.id

-- name: record_one
SELECT id, class, type, key, version, event, school, body, message FROM records WHERE id = $1
