-- name: connector_by_name
SELECT id, name, system, settings, secrets, revision, state FROM connectors WHERE name = $1

-- name: connector_add
INSERT INTO connectors (name, system, settings, secrets) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING RETURNING id

-- name: quota_add
INSERT INTO quotas (connector) VALUES ($1) ON CONFLICT DO NOTHING

-- name: recovery_add
INSERT INTO recoveries (connector) VALUES ($1) ON CONFLICT DO NOTHING

-- name: connector_update
UPDATE connectors SET settings = $2, secrets = coalesce($3, secrets), revision = revision + 1, updated_at = clock_timestamp()
WHERE id = $1 RETURNING revision

-- name: connector_revision_add
INSERT INTO connector_revisions (connector, revision, settings, actor) VALUES ($1, $2, $3, $4)

-- name: task_lock
SELECT id, connector, cause, subject, state, data FROM tasks WHERE id = $1 FOR UPDATE

-- name: task_paused
SELECT connector FROM tasks WHERE id = $1 AND state = 'open' AND data ? 'pauses'

-- name: connector_lock
-- As an UPDATE locks it: whoever only refers to it goes on.
SELECT id FROM connectors WHERE id = $1 FOR NO KEY UPDATE

-- name: task_close
UPDATE tasks SET state = 'resolved', resolved_at = clock_timestamp(), actor = $2, resolution = $3 WHERE id = $1

-- name: tasks_of_pause
UPDATE tasks SET state = 'resolved', resolved_at = clock_timestamp(), actor = $2, resolution = 'release'
WHERE connector = $1 AND state = 'open' AND data ? 'pauses'

-- name: task_deliveries
SELECT id, connector, order_key, aside, class, record FROM deliveries WHERE task = $1 AND state = 5

-- name: tasks_for_code
SELECT id FROM tasks WHERE state = 'open' AND cause = 'unmapped_code' AND subject = $1 ORDER BY id FOR UPDATE

-- name: tasks_unmapped_open
SELECT id, subject, data FROM tasks WHERE state = 'open' AND cause = 'unmapped_code' ORDER BY id LIMIT 1000

-- name: release_parked
-- A parked head goes back to the queue; one that had stepped aside waits its turn if a later one of its key is on its way.
UPDATE deliveries d
SET state = CASE WHEN d.aside AND EXISTS (
      SELECT 1 FROM deliveries a WHERE a.connector = d.connector AND a.order_key = d.order_key AND a.state <> 1 AND NOT a.aside)
    THEN 1 ELSE 2 END,
    cause = CASE WHEN d.aside AND EXISTS (
      SELECT 1 FROM deliveries a WHERE a.connector = d.connector AND a.order_key = d.order_key AND a.state <> 1 AND NOT a.aside)
    THEN 'resolved_behind' ELSE 'resolved' END, aside = false, task = NULL, since = clock_timestamp(), due_at = NULL
WHERE d.id = ANY ($1::bigint[]) AND d.state = 5
RETURNING d.id, d.state

-- name: close_open
WITH gone AS (
  DELETE FROM deliveries d WHERE d.id = ANY ($1::bigint[]) AND d.state = ANY ($2::smallint[]) RETURNING d.*),
closed AS (
  INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause, detail, call, replay_of)
  SELECT id, class, seq, record, connector, $3::smallint, attempts, created_at, flow, key, school, $4, $5, intent, replay_of FROM gone)
SELECT id, class, connector, order_key, aside, state FROM gone

-- name: delivery_open
SELECT id, class, connector, order_key, aside, state, record, key FROM deliveries WHERE id = $1

-- name: approved_codes_all
SELECT source_system, code, target_system, canonical, effective_from, actor AS approved_by FROM approved_codes ORDER BY id

-- name: approved_code_add
INSERT INTO approved_codes (source_system, code, target_system, canonical, effective_from, actor, note)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id

-- name: clock
SELECT clock_timestamp()

-- name: replay_lock
SELECT pg_advisory_xact_lock(7010)

-- name: replay_page
SELECT c.id, c.class, c.record, c.connector, c.flow, c.key, c.school, c.call, c.state, r.type, r.message
FROM deliveries_closed c JOIN records r ON r.id = c.record AND r.class = c.class
WHERE c.id > $8
  AND ($1::bigint[] IS NULL OR c.id = ANY ($1))
  AND ($2::bigint IS NULL OR r.message = $2)
  AND ($3::smallint IS NULL OR c.connector = $3)
  AND ($4::text[] IS NULL OR c.school = ANY ($4))
  AND c.state = ANY ($5::smallint[])
  AND ($6::timestamptz IS NULL OR c.closed_at >= $6)
  AND c.closed_at < $7::timestamptz
ORDER BY c.id LIMIT $9

-- name: replayed_before
SELECT replay_of, false AS ended FROM deliveries WHERE replay_of = ANY ($1::bigint[])
UNION ALL
-- From the day before: within a day, ids of two processes are in no order.
SELECT replay_of, true FROM deliveries_closed WHERE replay_of = ANY ($1::bigint[]) AND id >= (($2::bigint >> 37) - 1) << 37

-- name: replay_count
SELECT c.connector, c.state, count(*) AS n
FROM deliveries_closed c JOIN records r ON r.id = c.record AND r.class = c.class
WHERE ($1::bigint[] IS NULL OR c.id = ANY ($1))
  AND ($2::bigint IS NULL OR r.message = $2)
  AND ($3::smallint IS NULL OR c.connector = $3)
  AND ($4::text[] IS NULL OR c.school = ANY ($4))
  AND c.state = ANY ($5::smallint[])
  AND ($6::timestamptz IS NULL OR c.closed_at >= $6)
  AND ($7::timestamptz IS NULL OR c.closed_at < $7)
  AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.replay_of = c.id)
  AND NOT EXISTS (SELECT 1 FROM deliveries_closed o WHERE o.replay_of = c.id AND o.class = c.class AND o.id >= ((c.id >> 37) - 1) << 37)
GROUP BY 1, 2

-- name: account
SELECT
  (SELECT count(*) FROM messages) AS messages,
  (SELECT count(*) FROM messages m WHERE m.outcome IS NULL AND NOT EXISTS (
     SELECT 1 FROM message_results x WHERE x.message = m.id AND x.class = m.class)) AS pending,
  (SELECT count(*) FROM inbox) AS inbox,
  coalesce(sum(n) FILTER (WHERE outcome = 2), 0)::bigint AS invalid,
  coalesce(sum(n) FILTER (WHERE outcome = 3), 0)::bigint AS duplicate,
  coalesce(sum(n) FILTER (WHERE outcome = 4), 0)::bigint AS routed,
  coalesce(sum(items), 0)::bigint AS items,
  coalesce(sum(rejected), 0)::bigint AS rejected,
  coalesce(sum(records), 0)::bigint AS records,
  (SELECT count(*) FROM records WHERE disposition <> 4) AS records_stored,
  (SELECT coalesce(sum(due), 0)::bigint FROM records) AS due
FROM (SELECT outcome, count(*) AS n, sum(items) AS items, sum(rejected) AS rejected, sum(records) AS records
      FROM message_outcomes GROUP BY outcome) r

-- name: account_states
SELECT state, (replay_of IS NOT NULL) AS replay, count(*) AS n FROM deliveries GROUP BY 1, 2
UNION ALL
SELECT state, (replay_of IS NOT NULL), count(*) FROM deliveries_closed GROUP BY 1, 2

-- name: oldest_by_state
SELECT connector, state, count(*) AS n, extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s
FROM deliveries GROUP BY 1, 2

-- name: inbox_oldest
-- Messages whose records are not made yet. Ids rise with time but for the blocks they are taken in: the oldest is among the first.
SELECT (SELECT count(*) FROM inbox) AS n, extract(epoch FROM clock_timestamp() - min(m.received_at))::float8 AS oldest_s
FROM (SELECT message, class FROM inbox ORDER BY message LIMIT 1000) i JOIN messages m ON m.id = i.message AND m.class = i.class

-- name: seal_last
SELECT number, to_tx::text AS to_tx, chain FROM seals ORDER BY number DESC LIMIT 1

-- name: seal_rows
SELECT id, tx::text AS tx, at, actor, kind, connector, subject, ids, data, class, date '2020-01-01' + (id >> 37)::int AS day FROM journal
WHERE tx >= $1::text::xid8 AND tx < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY tx, id

-- name: seal_horizon
SELECT pg_snapshot_xmin(pg_current_snapshot())::text

-- name: seal_add
INSERT INTO seals (number, from_tx, to_tx, entries, root, chain, class, day) VALUES ($1, $2::text::xid8, $3::text::xid8, $4, $5, $6, $7, $8)
