-- name: pull_row
INSERT INTO pulls (connector, what) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: pull_lock
SELECT connector, what, cursor, run, key, state, page, next, owner, until, whole, records, unchanged, rejected, changes, fault, started_at, finished_at,
  until > clock_timestamp() AS led
FROM pulls WHERE connector = $1 AND what = $2 FOR UPDATE

-- name: pull_begin
UPDATE pulls SET run = run + 1, key = $3, state = 'running', page = 0, next = NULL, owner = $4, until = clock_timestamp() + $5::float8 * interval '1 second',
  records = 0, unchanged = 0, rejected = 0, changes = 0, fault = NULL, started_at = clock_timestamp(), finished_at = NULL
WHERE connector = $1 AND what = $2 RETURNING run

-- name: pull_take_over
UPDATE pulls SET key = $3, state = 'running', owner = $4, until = clock_timestamp() + $5::float8 * interval '1 second', fault = NULL
WHERE connector = $1 AND what = $2

-- name: pull_page
UPDATE pulls SET page = page + 1, cursor = coalesce($6, cursor), next = $7, until = clock_timestamp() + $8::float8 * interval '1 second',
  state = CASE WHEN $7::jsonb IS NULL THEN 'done' ELSE 'running' END, finished_at = CASE WHEN $7::jsonb IS NULL THEN clock_timestamp() END,
  whole = whole OR $7::jsonb IS NULL, records = records + $9, unchanged = unchanged + $10, rejected = rejected + $11, changes = changes + $12
WHERE connector = $1 AND what = $2 AND run = $3 AND page = $4 AND owner = $5 AND state = 'running' RETURNING page

-- name: pull_held
SELECT connector FROM pulls WHERE connector = $1 AND what = $2 AND run = $3 AND page = $4 AND owner = $5 AND state = 'running' FOR UPDATE

-- name: pull_fault
UPDATE pulls SET state = CASE WHEN $5 THEN 'failed' ELSE state END, fault = $4, until = clock_timestamp(), finished_at = CASE WHEN $5 THEN clock_timestamp() END
WHERE connector = $1 AND what = $2 AND owner = $3 AND state = 'running'

-- name: pull_let_go
UPDATE pulls SET until = clock_timestamp() WHERE connector = $1 AND what = $2 AND owner = $3 AND state = 'running'

-- name: pulls_all
SELECT p.connector, p.what, p.state, p.started_at, p.finished_at, p.until > clock_timestamp() AS led,
  extract(epoch FROM clock_timestamp() - coalesce(p.finished_at, p.started_at))::float8 AS age_s
FROM pulls p

-- name: entries_of
SELECT key, body, gone_at FROM pulled_entries WHERE connector = $1 AND what = $2 AND key = ANY ($3::text[])

-- name: entries_write
INSERT INTO pulled_entries (connector, what, key, body, run) SELECT $1, $2, k, b, $5 FROM unnest($3::text[], $4::jsonb[]) w(k, b)
ON CONFLICT (connector, what, key) DO UPDATE SET body = excluded.body, run = excluded.run, gone_at = NULL

-- name: entries_missing
SELECT key, body FROM pulled_entries WHERE connector = $1 AND what = $2 AND run < $3 AND gone_at IS NULL ORDER BY key

-- name: entries_held
SELECT count(*) FROM pulled_entries WHERE connector = $1 AND what = $2 AND gone_at IS NULL

-- name: entries_gone
UPDATE pulled_entries SET gone_at = clock_timestamp() WHERE connector = $1 AND what = $2 AND key = ANY ($3::text[]) AND gone_at IS NULL

-- name: changes_add
INSERT INTO pulled_changes (connector, what, run, key, kind, before, after)
SELECT $1, $2, $3, * FROM unnest($4::text[], $5::text[], $6::jsonb[], $7::jsonb[])

-- name: pull_connector
SELECT id, name, system, settings, secrets, revision, state, updated_at FROM connectors WHERE name = $1

-- name: pull_connectors
SELECT id, name, system, settings, secrets, revision, state, updated_at FROM connectors ORDER BY name
