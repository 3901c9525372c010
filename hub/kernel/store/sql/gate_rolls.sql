-- People sent to gates, as the console shows them.

-- name: gate_people_open
-- Gates with people still to be told, those a person must help with first.
SELECT split_part(d.key, '/', 1) AS device, count(*) AS n, count(*) FILTER (WHERE d.state = 5) AS parked,
  count(*) FILTER (WHERE d.state IN (4, 6)) AS waiting, min(d.created_at) AS since, max(d.attempts) AS attempts,
  coalesce(jsonb_agg(DISTINCT t.text) FILTER (WHERE t.id IS NOT NULL), '[]') AS tasks, array_agg(DISTINCT d.cause ORDER BY d.cause) AS causes
FROM deliveries d JOIN connectors k ON k.id = d.connector AND k.system = 'face_gates' LEFT JOIN tasks t ON t.id = d.task
WHERE $1::text[] IS NULL OR d.school = ANY ($1)
GROUP BY 1 ORDER BY count(*) FILTER (WHERE d.state = 5) DESC, min(d.created_at) LIMIT 1000

-- name: gate_people_of
-- Everybody the hub would have a gate know, or no longer know, with the last that became of it. `only_open`: not those it has.
-- A page goes on after a record's number ($3), which says nothing of anybody: its key by what stands, or by the record where another
-- version has come meanwhile.
SELECT s.key, substr(s.key, length($1::text) + 2) AS person, s.event, s.version, s.record, coalesce(d.id, c.id) AS delivery,
  coalesce(d.state, c.state) AS state, coalesce(d.cause, c.cause) AS cause, coalesce(d.since, c.closed_at) AS at, d.due_at,
  coalesce(d.attempts, c.attempts) AS attempts, t.text AS task, c.detail
FROM streams s
LEFT JOIN LATERAL (
  SELECT x.* FROM deliveries x JOIN connectors k ON k.id = x.connector AND k.system = 'face_gates' WHERE x.record = s.record ORDER BY x.seq DESC LIMIT 1) d ON true
LEFT JOIN LATERAL (
  SELECT x.* FROM deliveries_closed x JOIN connectors k ON k.id = x.connector AND k.system = 'face_gates'
  WHERE x.record = s.record AND d.id IS NULL ORDER BY x.id DESC LIMIT 1) c ON true
LEFT JOIN tasks t ON t.id = d.task
WHERE s.type = 'gate_person' AND s.key < $1::text || '0' AND s.key > coalesce(
    (SELECT b.key FROM streams b WHERE b.type = 'gate_person' AND b.key > $1::text || '/' AND b.key < $1::text || '0' AND b.record = $3::bigint),
    (SELECT r.key FROM records r WHERE r.id = $3::bigint AND r.type = 'gate_person' AND r.key > $1::text || '/' AND r.key < $1::text || '0'),
    $1::text || '/')
  AND ($2::text[] IS NULL OR s.school = ANY ($2))
  AND (NOT $4::bool OR coalesce(d.state, c.state) IS DISTINCT FROM 7)
ORDER BY s.key LIMIT $5
