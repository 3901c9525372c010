-- Recovery: who leads it, and the release of waiting deliveries. Counts read the open table alone; what is asked at every step
-- reads neither what waits nor what is held.

-- name: recovery_find
SELECT state, epoch FROM recoveries WHERE connector = $1

-- name: recovery_begin
INSERT INTO recoveries (connector, epoch, state, opened_at, reason) VALUES ($1, 1, 'open', clock_timestamp(), $2)
ON CONFLICT (connector) DO UPDATE
SET epoch = recoveries.epoch + 1, state = 'open', owner = NULL, until = NULL, opened_at = clock_timestamp(), reason = excluded.reason,
    step = 0, released = 0, triggered = false
WHERE recoveries.state = 'idle'
RETURNING epoch

-- name: recovery_lock
SELECT r.state, r.epoch, r.owner, r.step, r.released, c.state AS connector_state, clock_timestamp() AS now,
       c.system, c.settings,
       coalesce(r.owner IS NOT NULL AND r.until > clock_timestamp(), false) AS led,
       extract(epoch FROM clock_timestamp() - coalesce(r.until, r.opened_at))::float8 AS alone_s
FROM recoveries r JOIN connectors c ON c.id = r.connector
WHERE r.connector = $1 FOR UPDATE OF r

-- name: recovery_lead
UPDATE recoveries SET owner = $2, until = clock_timestamp() + $3::float8 * interval '1 second' WHERE connector = $1

-- name: recovery_step
UPDATE recoveries SET step = $2, released = released + $3 WHERE connector = $1

-- name: recovery_leave
UPDATE recoveries SET owner = NULL, until = clock_timestamp() WHERE connector = $1

-- name: recovery_end
UPDATE recoveries SET state = 'idle', owner = NULL, until = clock_timestamp() WHERE connector = $1

-- name: recovery_triggered
UPDATE recoveries SET triggered = true WHERE connector = $1 AND epoch = $2 AND state = 'open'

-- name: recovery_release
-- What is due goes, and what began to wait before $3: it waits for the outage, whatever its own time was. What waits for
-- another record to be delivered does not wait for the outage.
WITH w AS (
  SELECT id FROM deliveries
  WHERE connector = $1 AND state = 4
    AND (due_at IS NULL OR due_at <= statement_timestamp() OR (since < $3::timestamptz AND waits_for IS NULL))
  ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE deliveries d SET state = 2, cause = 'due', since = clock_timestamp(), due_at = NULL
FROM w WHERE d.id = w.id
RETURNING d.id

-- name: recovery_release_due
-- The statement's time, not the clock's: only a stable function is looked up in the index.
WITH w AS (
  SELECT x.id FROM connectors c LEFT JOIN recoveries r ON r.connector = c.id
  CROSS JOIN LATERAL (
    SELECT id FROM deliveries
    WHERE connector = c.id AND state = 4 AND due_at <= statement_timestamp() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED) x
  WHERE coalesce(r.state, 'idle') = 'idle')
UPDATE deliveries d SET state = 2, cause = 'due', since = clock_timestamp(), due_at = NULL
FROM w WHERE d.id = w.id AND d.state = 4
RETURNING d.id

-- name: recovery_counts
-- Three reads, because each has an index of its own; what is held is not looked at. What rests with its school's share is
-- not queued: no recovery waits for it.
SELECT l.*, q.*, s.* FROM
  (SELECT count(*) FILTER (WHERE state = 4 AND waits_for IS NULL AND cause <> 'in_progress') AS waiting,
          count(*) FILTER (WHERE state = 4 AND (due_at IS NULL OR due_at <= statement_timestamp())) AS waiting_due,
          count(*) FILTER (WHERE state = 6) AS uncertain,
          count(*) FILTER (WHERE since >= $2::timestamptz AND waits_for IS NULL AND cause <> 'in_progress') AS failed,
          min(created_at) FILTER (WHERE state = 4 AND waits_for IS NULL) AS oldest
   FROM deliveries WHERE connector = $1 AND state IN (4, 6)) l,
  (SELECT count(*) AS ready, count(*) FILTER (WHERE cause = 'due' AND NOT EXISTS (
       SELECT 1 FROM paused_shares p WHERE p.connector = $1 AND p.school = coalesce(d.school, ''))) AS queued
   FROM deliveries d WHERE connector = $1 AND state = 2) q,
  (SELECT count(*) AS sending FROM deliveries WHERE connector = $1 AND state = 3 AND lease_until IS NOT NULL) s

-- name: recovery_seen
-- The two counts a leader goes by, each by an index of its own.
SELECT (SELECT count(*) FROM deliveries
        WHERE connector = $1 AND state IN (4, 6) AND since >= $2::timestamptz AND waits_for IS NULL AND cause <> 'in_progress') AS failed,
       (SELECT count(*) FROM deliveries d WHERE connector = $1 AND state = 2 AND cause = 'due' AND NOT EXISTS (
          SELECT 1 FROM paused_shares p WHERE p.connector = $1 AND p.school = coalesce(d.school, ''))) AS queued

-- name: recovery_due
-- What is left to release by itself; two counts, because no index is one way to both.
SELECT (SELECT count(*) FROM deliveries WHERE connector = $1 AND state = 4 AND due_at <= statement_timestamp())
     + (SELECT count(*) FROM deliveries WHERE connector = $1 AND state = 4 AND due_at IS NULL)

-- name: recovery_delivered
SELECT count(*) FROM deliveries_closed d JOIN recoveries r ON r.connector = d.connector
WHERE d.connector = $1 AND d.state = 7 AND d.closed_at >= r.opened_at

-- name: recovery_fate
-- A canary that turned out to wait for another record is none: it says nothing about the counterparty. One that was taken up
-- there and is to be asked about again shows that the counterparty is well.
SELECT CASE WHEN state = 4 AND cause = 'in_progress' THEN 7 ELSE state END AS state FROM deliveries WHERE id = $1 AND connector = $2 AND NOT (state = 4 AND waits_for IS NOT NULL)
UNION ALL
SELECT state FROM deliveries_closed WHERE id = $1 AND connector = $2

-- name: recovery_row
SELECT c.name AS connector, r.epoch, r.state, c.state AS connector_state, r.opened_at, r.reason, r.step, r.released, r.triggered,
       CASE WHEN r.owner IS NOT NULL AND r.until > clock_timestamp() THEN r.owner END AS owner,
       greatest(extract(epoch FROM r.until - clock_timestamp()), 0)::float8 AS lease_left_s, clock_timestamp() AS now
FROM recoveries r JOIN connectors c ON c.id = r.connector
WHERE ($1::smallint IS NULL OR r.connector = $1) AND (NOT $2::boolean OR r.state = 'open')
ORDER BY c.name
