-- name: query_record
SELECT r.body, r.school, r.event, r.updated_at, r.id FROM streams s JOIN records r ON r.id = s.record
WHERE s.type = $1 AND s.key = $2

-- name: query_log
INSERT INTO queries (name, client, asker, officer, purpose, request_id, input_hash, school, found)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: query_grant
SELECT scope_kind, scope_code FROM query_grants WHERE subsystem = $1 AND name = $2

-- name: query_grant_write
INSERT INTO query_grants (subsystem, name, scope_kind, scope_code, actor) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (subsystem, name) DO UPDATE SET scope_kind = excluded.scope_kind, scope_code = excluded.scope_code, actor = excluded.actor,
  at = clock_timestamp()

-- name: query_grant_remove
DELETE FROM query_grants WHERE subsystem = $1 AND name = $2 RETURNING subsystem

-- name: query_grants_all
SELECT subsystem, name, scope_kind, scope_code, actor, at FROM query_grants ORDER BY subsystem, name
