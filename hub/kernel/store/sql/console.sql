-- What the console reads. Nothing here changes anything. A null array of schools means all of them.
-- Tables that grow are read from their newest end only, through the primary key, and never further than a fixed number of rows.

-- name: console_connectors
SELECT c.id, c.name, c.system, c.settings, c.secrets IS NOT NULL AS has_secrets, c.revision, c.state, c.pause_cause, c.pause_message,
  c.paused_at, c.updated_at, 
  (SELECT count(*) FROM quota_shares s WHERE s.connector = c.id AND s.until > clock_timestamp())::int AS sharers,
  CASE WHEN q.day = (clock_timestamp() AT TIME ZONE 'Asia/Ho_Chi_Minh')::date THEN q.day_used ELSE 0 END AS day_used,
  r.state AS recovery, r.epoch, r.owner, r.until > clock_timestamp() AS led, r.opened_at, r.reason, r.step, r.released, r.triggered
FROM connectors c LEFT JOIN quotas q ON q.connector = c.id LEFT JOIN recoveries r ON r.connector = c.id
ORDER BY c.name

-- name: console_backlog
SELECT connector, state, count(*) AS n, extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s
FROM deliveries WHERE $1::text[] IS NULL OR school = ANY ($1) GROUP BY 1, 2

-- name: console_activity
-- Per connector (null: intake) over the newest lines of the journal: counts of the last minute, five minutes and hour;
-- `five_s`: how much of the five minutes those lines reach back over.
WITH recent AS MATERIALIZED (
  SELECT at, kind, connector, cardinality(ids) AS n, data FROM journal
  WHERE id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 1) ORDER BY id DESC LIMIT $1),
lines AS (
  SELECT at, kind, connector,
    CASE WHEN kind = 'intake' THEN n ELSE coalesce((data -> 'outcomes' ->> 'delivered')::int, 0) END AS good,
    CASE WHEN kind = 'intake' THEN 0 ELSE n - coalesce((data -> 'outcomes' ->> 'delivered')::int, 0) END AS other
  FROM recent WHERE kind IN ('intake', 'conclude'))
SELECT CASE WHEN kind = 'conclude' THEN connector END AS connector,
  coalesce(sum(good) FILTER (WHERE at > clock_timestamp() - interval '1 minute'), 0)::bigint AS minute,
  coalesce(sum(good) FILTER (WHERE at > clock_timestamp() - interval '5 minutes'), 0)::bigint AS five,
  (SELECT CASE WHEN count(*) = $1 THEN least(300, extract(epoch FROM clock_timestamp() - min(at))) ELSE 300 END::float8 FROM recent) AS five_s,
  coalesce(sum(good) FILTER (WHERE at > clock_timestamp() - interval '1 hour'), 0)::bigint AS hour,
  max(at) FILTER (WHERE good > 0) AS last_good,
  max(at) FILTER (WHERE other > 0) AS last_other,
  (SELECT count(*) = $1 AND min(at) > clock_timestamp() - interval '1 hour' FROM recent) AS cut
FROM lines GROUP BY kind, 1

-- name: console_last_errors
-- Why the newest tries that were not taken were not, one per connector.
SELECT DISTINCT ON (c.connector) c.connector, a.outcome, a.reason, a.at
FROM (SELECT id, class, call, outcome, reason, at FROM attempts
      WHERE id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 1) ORDER BY id DESC LIMIT 1000) a
JOIN calls c ON c.id = a.call AND c.class = a.class
WHERE a.outcome NOT IN ('Receipt', 'present', 'released') AND a.reason IS NOT NULL
ORDER BY c.connector, a.id DESC

-- name: console_calls
-- Calls a second of each connector over the last ten seconds, or over what the newest $1 calls of all reach back to.
WITH recent AS MATERIALIZED (
  SELECT connector, at FROM calls
  WHERE id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 1) ORDER BY id DESC LIMIT $1),
span AS (
  SELECT CASE WHEN count(*) = $1 THEN greatest(least(10, extract(epoch FROM clock_timestamp() - min(at))), 1) ELSE 10 END::float8 AS s
  FROM recent)
SELECT r.connector, count(*) / span.s AS per_s FROM recent r, span
WHERE r.at > clock_timestamp() - span.s * interval '1 second' GROUP BY 1, span.s

-- name: console_tasks_count
SELECT count(*) FROM tasks t WHERE t.state = 'open' AND ($1::text[] IS NULL OR EXISTS (
  SELECT 1 FROM deliveries d WHERE d.task = t.id AND d.state = 5 AND d.school = ANY ($1)))

-- name: console_inbox
SELECT count(*) AS n, count(problem) AS stuck, extract(epoch FROM clock_timestamp() - min(due_at))::float8 AS oldest_s FROM inbox

-- name: console_gates_count
-- As `gates_standing` has it.
SELECT count(*) AS n,
  count(*) FILTER (WHERE s.online IS NOT FALSE AND greatest(s.seen_at, g.due) > clock_timestamp() - interval '10 minutes') AS online
FROM devices d LEFT JOIN device_state s ON s.device = d.id
LEFT JOIN (SELECT device, finished_at, least(due_at, finished_at + interval '1 hour', clock_timestamp()) AS due FROM gate_lists
  WHERE fault IS NULL AND coalesce(settings->>'place', '') = '') g
  ON g.device = d.id AND s.seen_at >= g.finished_at AND s.seen_at < g.finished_at + interval '1 minute'
WHERE d.state = 'active' AND ($1::text[] IS NULL OR d.school = ANY ($1))

-- name: console_clients_count
SELECT count(*) FROM clients WHERE state = 'active'

-- name: console_connector_calls
SELECT c.id, c.operation, cardinality(c.deliveries) AS n, c.idempotent, c.key, c.at, r.status, r.error, r.elapsed_ms
FROM (SELECT * FROM calls WHERE id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 7) ORDER BY id DESC LIMIT 5000) c
LEFT JOIN LATERAL (SELECT status, error, elapsed_ms FROM replies r WHERE r.call = c.id AND r.class = c.class AND r.id >= (c.id >> 37) << 37
  ORDER BY r.id DESC LIMIT 1) r ON true
WHERE c.connector = $1 ORDER BY c.id DESC LIMIT 15

-- name: console_connector_revisions
SELECT revision, actor, at, settings FROM connector_revisions WHERE connector = $1 ORDER BY revision DESC LIMIT 20

-- name: console_messages
SELECT m.id, m.class, m.type, m.school, m.received_at, m.content_type, octet_length(m.body) AS bytes, jsonb_array_length(coalesce(m.removed, '[]')) AS removed,
  m.upload, m.chunk, m.duplicate_of, s.kind, s.name, coalesce(m.outcome, x.outcome) AS outcome, coalesce(m.items, x.items) AS items,
  coalesce(m.rejected, x.rejected) AS rejected, coalesce(m.records, x.records) AS records
FROM messages m JOIN sources s ON s.id = m.source LEFT JOIN message_results x ON x.message = m.id AND x.class = m.class
WHERE m.id < $1 AND m.id >= $2
  AND ($3::text[] IS NULL OR m.school = ANY ($3))
  AND ($4::bigint[] IS NULL OR m.id = ANY ($4))
  AND ($5::text IS NULL OR m.type = $5)
  AND ($6::text IS NULL OR s.name = $6)
  AND ($7::smallint IS NULL OR coalesce(m.outcome, x.outcome, 1) = $7)
  AND ($8::boolean IS FALSE OR coalesce(m.rejected, x.rejected) > 0)
  AND ($9::timestamptz IS NULL OR m.received_at >= $9) AND ($10::timestamptz IS NULL OR m.received_at < $10)
ORDER BY m.id DESC LIMIT $11

-- name: console_messages_of_key
SELECT DISTINCT message FROM records WHERE key = $1 AND ($2::text[] IS NULL OR school = ANY ($2)) ORDER BY message DESC LIMIT 200

-- name: console_messages_of_receipt
SELECT id FROM messages WHERE id = $1 UNION SELECT id FROM messages WHERE upload = $1 ORDER BY id LIMIT 500

-- name: console_sources
SELECT kind, name FROM sources ORDER BY kind, name LIMIT 500

-- name: console_message
SELECT m.id, m.class, m.source, m.type, m.school, m.received_at, m.content_type, m.digest, m.body, m.removed, m.attributes, m.upload, m.chunk,
  m.duplicate_of, m.body_hash, s.kind AS source_kind, s.name AS source_name, coalesce(m.outcome, x.outcome) AS outcome,
  coalesce(m.items, x.items) AS items, coalesce(m.rejected, x.rejected) AS rejected, coalesce(m.records, x.records) AS records,
  coalesce(x.at, CASE WHEN m.outcome IS NOT NULL THEN m.received_at END) AS settled_at, i.tries, i.problem
FROM messages m JOIN sources s ON s.id = m.source LEFT JOIN message_results x ON x.message = m.id AND x.class = m.class
LEFT JOIN inbox i ON i.message = m.id
WHERE m.id = $1 AND ($2::text[] IS NULL OR m.school = ANY ($2))

-- name: console_message_rejects
SELECT pointer, code, key, text FROM rejects WHERE message = $1 AND class = $2 ORDER BY pointer LIMIT $3

-- name: console_message_records
SELECT r.id, r.pointer, r.type, r.key, r.event, r.version, r.school, r.disposition, r.due, r.catalogue
FROM records r WHERE r.message = $1 AND r.class = $2 AND r.id > $3 AND r.disposition <> 4 AND r.id >= ($1 >> 37) << 37
  AND ($4::text[] IS NULL OR r.school = ANY ($4))
ORDER BY r.id LIMIT $5

-- name: console_deliveries_of_records
SELECT d.id, d.record, d.connector, d.state, d.cause, d.attempts, d.since, d.due_at, d.task, d.replay_of, d.flow, d.created_at, d.resend,
  NULL::text AS reference, NULL::text AS detail, d.intent AS call
FROM deliveries d WHERE d.record = ANY ($1::bigint[])
UNION ALL
SELECT c.id, c.record, c.connector, c.state, c.cause, c.attempts, c.closed_at, NULL, NULL, c.replay_of, c.flow, c.created_at, NULL,
  c.reference, c.detail, c.call
FROM deliveries_closed c WHERE c.record = ANY ($1::bigint[]) AND c.class = $2
ORDER BY 1

-- name: console_record
SELECT r.*, (SELECT max(version) FROM streams s WHERE s.type = r.type AND s.key = r.key) AS current_version
FROM records r WHERE r.id = $1 AND ($2::text[] IS NULL OR r.school = ANY ($2))

-- name: console_record_versions
SELECT id, version, event, updated_at, message, disposition FROM records
WHERE type = $1 AND key = $2 AND ($3::text[] IS NULL OR school = ANY ($3)) ORDER BY version DESC, id DESC LIMIT 20

-- name: console_attempts
SELECT a.id, a.delivery, a.call, a.number, a.kind, a.outcome, a.reason, a.late, a.worker, a.elapsed_ms, a.at, r.status, r.error
FROM attempts a LEFT JOIN LATERAL (
  SELECT status, error FROM replies r WHERE r.call = a.call AND r.class = a.class AND r.id >= (a.call >> 37) << 37 ORDER BY r.id DESC LIMIT 1) r ON true
WHERE a.delivery = ANY ($1::bigint[]) AND a.class = $2 ORDER BY a.id LIMIT 500

-- name: console_journal_of
SELECT id, at, actor, kind, subject, data FROM journal WHERE subject = ANY ($1::bigint[]) ORDER BY id LIMIT 500

-- name: console_delivery
SELECT d.id, d.record, d.connector, d.class, d.state, d.cause, d.school, d.key, d.flow FROM deliveries d WHERE d.id = $1
UNION ALL
SELECT c.id, c.record, c.connector, c.class, c.state, c.cause, c.school, c.key, c.flow FROM deliveries_closed c WHERE c.id = $1

-- name: console_open_deliveries
SELECT d.id, d.record, d.connector, d.state, d.cause, d.attempts, d.since, d.due_at, d.task, d.flow, d.key, d.school, d.created_at, d.waits_for AS detail
FROM deliveries d
WHERE d.id > $1 AND ($2::text[] IS NULL OR d.school = ANY ($2)) AND ($3::smallint IS NULL OR d.connector = $3) AND d.state = $4
ORDER BY d.id LIMIT $5

-- name: console_closed_deliveries
SELECT d.id, d.record, d.connector, d.state, d.cause, d.attempts, d.closed_at AS since, NULL::timestamptz AS due_at, NULL::bigint AS task, d.flow, d.key,
  d.school, d.created_at, d.detail
FROM deliveries_closed d
WHERE d.id < $1 AND d.id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 31)
  AND ($2::text[] IS NULL OR d.school = ANY ($2)) AND ($3::smallint IS NULL OR d.connector = $3) AND d.state = $4
ORDER BY d.id DESC LIMIT $5

-- name: console_call
SELECT * FROM calls WHERE id = $1

-- name: console_replies
SELECT id, status, headers, body, error, elapsed_ms, at FROM replies WHERE call = $1 AND class = $2 ORDER BY id LIMIT 20

-- name: console_call_records
-- The records a call spoke of. Its class is theirs.
SELECT r.id, r.type, r.key, r.school, r.body FROM records r
WHERE r.class = $2 AND r.id IN (
  SELECT record FROM deliveries WHERE id = ANY ($1::bigint[])
  UNION ALL SELECT record FROM deliveries_closed WHERE id = ANY ($1::bigint[]) AND class = $2)

-- name: console_tasks
SELECT t.id, t.connector, t.cause, t.subject, t.text, t.data, t.opened_at, coalesce(d.n, 0) AS n, d.oldest, d.schools, d.some_schools
FROM tasks t LEFT JOIN (
  SELECT task, count(*) AS n, min(since) AS oldest, count(DISTINCT school) AS schools, (array_agg(DISTINCT school))[1:6] AS some_schools
  FROM deliveries WHERE task IS NOT NULL AND state = 5 AND ($1::text[] IS NULL OR school = ANY ($1)) GROUP BY task) d ON d.task = t.id
WHERE t.state = 'open' AND ($1::text[] IS NULL OR d.n > 0) AND ($2::text IS NULL OR t.cause = $2)
ORDER BY coalesce(d.n, 0) DESC, t.id LIMIT 500

-- name: console_task
SELECT * FROM tasks WHERE id = $1

-- name: console_task_deliveries
SELECT id, record, connector, state, cause, attempts, since, flow, key, school, created_at FROM deliveries
WHERE task = $1 AND state = 5 AND ($2::text[] IS NULL OR school = ANY ($2)) ORDER BY id LIMIT 100

-- name: console_task_sizes
SELECT count(*) AS n, count(*) FILTER (WHERE $2::text[] IS NULL OR school = ANY ($2)) AS seen FROM deliveries WHERE task = $1 AND state = 5

-- name: console_unmapped_schools
SELECT task, school, count(*) AS n FROM deliveries
WHERE task = ANY ($1::bigint[]) AND state = 5 AND ($2::text[] IS NULL OR school = ANY ($2)) GROUP BY 1, 2 ORDER BY 3 DESC

-- name: console_approved
SELECT source_system, code, target_system, canonical, actor, note, at FROM approved_codes ORDER BY id DESC LIMIT 100

-- name: console_gate_events
SELECT id, key, updated_at, created_at, disposition, body, message FROM records
WHERE class = 1 AND type = 'checkin' AND id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 2)
  AND key >= $1 || '/' AND key < $1 || '0' AND ($2::text[] IS NULL OR school = ANY ($2))
ORDER BY id DESC LIMIT 50

-- name: console_audit
SELECT id, at, actor, kind, connector, subject, data FROM journal
WHERE class = 3 AND ids IS NULL AND id < $1 AND id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - $2::int)
  AND kind = ANY ($3::text[]) AND ($4::text IS NULL OR actor = $4)
ORDER BY id DESC LIMIT $5

-- name: console_story
-- Faults rehearsed and recoveries of these connectors, the latest first, among the newest lines of the journal.
SELECT at, actor, kind, connector, data FROM (
  SELECT id, at, actor, kind, connector, data FROM journal
  WHERE class = 3 AND ids IS NULL AND id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 1) ORDER BY id DESC LIMIT $2) recent
WHERE connector = ANY ($1::smallint[])
  AND kind = ANY (ARRAY['rehearse', 'recovery_opened', 'recovery_led', 'recovery_released', 'recovery_handed_over', 'recovery_finished'])
ORDER BY at DESC, id DESC LIMIT 200

-- name: console_replays
-- The newest lines of replay orders (one line orders up to 1,000) and how far each has come. A null actor means everybody.
SELECT j.id, j.at, j.actor, j.data ->> 'mode' AS mode, j.data ->> 'why' AS why, cardinality(j.asked) AS asked,
  o.n AS open, c.delivered, c.dead, c.cancelled, c.last_at
FROM (
  SELECT id, at, actor, data, ARRAY(SELECT jsonb_array_elements_text(data -> 'deliveries')::bigint) AS asked FROM journal
  WHERE class = 3 AND ids IS NULL AND kind = 'replay' AND id >= id_day((clock_timestamp() AT TIME ZONE 'UTC')::date - 31)
    AND ($1::text IS NULL OR actor = $1)
  ORDER BY id DESC LIMIT $2) j
CROSS JOIN LATERAL (SELECT count(*) AS n FROM deliveries d WHERE d.replay_of = ANY (j.asked)) o
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE state = 7) AS delivered, count(*) FILTER (WHERE state = 8) AS dead,
    count(*) FILTER (WHERE state = 9) AS cancelled, max(closed_at) AS last_at
  FROM deliveries_closed d WHERE d.replay_of = ANY (j.asked) AND d.id >= ((j.id >> 37) - 1) << 37) c
ORDER BY j.id DESC

-- name: console_corrections
-- The message that corrected this record (it has its type and key), and the record its own message corrects.
SELECT DISTINCT m.id AS message, m.received_at, m.id = $2 AS own, m.attributes ->> 'corrects' AS corrects, m.attributes ->> 'why' AS why
FROM records r JOIN messages m ON m.id = r.message AND m.class = r.class
WHERE r.key = $1 AND r.type = $4 AND (m.id = $2 OR m.attributes ->> 'corrects' = $3::bigint::text) AND m.attributes ? 'corrects'
ORDER BY m.id LIMIT 20

-- name: console_source_scope
SELECT scope_kind, scope_code FROM clients WHERE source = $1

-- name: console_database
SELECT pg_database_size(current_database()) AS bytes, default_rows() AS default_rows,
  (SELECT max(at) FROM seals) AS sealed_at
