-- What lies at a rank of 2^60 or above was set aside with its school's share (see guards.sql); what came to a paused
-- share since is passed over.

-- name: claim
WITH c AS (
  SELECT id FROM deliveries d WHERE connector = $1 AND state = 2 AND rank < 1152921504606846976
    AND NOT EXISTS (SELECT 1 FROM paused_shares p WHERE p.connector = $1 AND p.school = coalesce(d.school, ''))
  ORDER BY rank LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE deliveries d
SET state = 3, cause = 'claimed', claim = $3, lease_until = clock_timestamp() + $4::float8 * interval '1 second',
    attempts = attempts + 1, since = clock_timestamp(), due_at = NULL, intent = NULL
FROM c WHERE d.id = c.id
RETURNING d.id, d.record, d.class, d.attempts, d.flow, d.key, d.school, d.order_key, d.resend, d.rank, d.replay_of

-- name: claim_uncertain
WITH c AS (
  SELECT id FROM deliveries
  WHERE connector = $1 AND state = 6 AND due_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp())
  ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE deliveries d SET claim = $3, lease_until = clock_timestamp() + $4::float8 * interval '1 second'
FROM c WHERE d.id = c.id
RETURNING d.id, d.record, d.class, d.attempts, d.flow, d.key, d.school, d.order_key, d.intent, d.absent,
  extract(epoch FROM clock_timestamp() - d.since)::float8 AS age_s

-- name: records_of
SELECT id, type, key, event, version, updated_at, school, body FROM records WHERE class = $1 AND id = ANY ($2::bigint[])

-- name: calls_of
SELECT id, operation, deliveries, idempotent, key, method, path, headers, content_type, meta, body, mapping FROM calls
WHERE class = $1 AND id = ANY ($2::bigint[])

-- name: extend_leases
UPDATE deliveries SET lease_until = clock_timestamp() + $2::float8 * interval '1 second'
WHERE id = ANY ($1::bigint[]) AND claim = $3 AND state IN (3, 6)
RETURNING id

-- name: intend
UPDATE deliveries d SET intent = CASE WHEN w.keep THEN w.call END
FROM unnest($1::bigint[], $2::bigint[], $3::boolean[]) w(id, call, keep)
WHERE d.id = w.id AND d.claim = $4 AND d.state = 3 AND d.lease_until > clock_timestamp()
RETURNING d.id

-- name: close
-- What ends, and with it the promotion of the next of its order key. The keys are locked: nobody adds to them meanwhile.
WITH w AS (
  SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::bigint[])
    w(id, claim, source, target, cause, reference, detail, call)),
gone AS (
  DELETE FROM deliveries d USING w WHERE d.id = w.id AND d.claim = w.claim AND d.state = w.source
  RETURNING d.*, w.target, w.cause AS why, w.reference, w.detail, w.call),
next AS (
  UPDATE deliveries d SET state = 2, cause = 'promoted', since = clock_timestamp()
  FROM gone g CROSS JOIN LATERAL (
    SELECT h.id FROM deliveries h
    WHERE h.connector = g.connector AND h.order_key = g.order_key AND h.state = 1 ORDER BY h.seq LIMIT 1) n
  WHERE d.id = n.id)
INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause, reference, detail, call, replay_of)
SELECT id, class, seq, record, connector, target, attempts, created_at, flow, key, school, why, reference, detail, call, replay_of FROM gone
RETURNING id

-- name: move
UPDATE deliveries d
SET state = w.target, cause = w.cause, claim = NULL, lease_until = NULL,
    since = CASE WHEN w.target = w.source THEN d.since ELSE clock_timestamp() END,
    due_at = CASE WHEN w.after_s >= 0 THEN clock_timestamp() + w.after_s * interval '1 second' END,
    task = w.task, resend = coalesce(w.resend, d.resend), absent = w.absent, aside = w.aside,
    intent = CASE WHEN w.target = 6 AND w.source = 6 THEN d.intent WHEN w.target = 6 THEN coalesce(d.intent, w.call) END,
    waits_for = NULL, attempts = CASE WHEN w.cause IN ('released', 'prerequisite', 'in_progress') THEN d.attempts - 1 ELSE d.attempts END
FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::text[], $6::float8[], $7::bigint[], $8::bigint[], $9::smallint[], $10::boolean[], $11::bigint[])
  w(id, claim, source, target, cause, after_s, task, resend, absent, aside, call)
WHERE d.id = w.id AND d.claim = w.claim AND d.state = w.source
RETURNING d.id

-- name: late_present
WITH w AS (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) w(id, call, reference, detail)),
gone AS (
  DELETE FROM deliveries d USING w WHERE d.id = w.id AND d.state = 6 AND d.intent = w.call
  RETURNING d.*, w.reference, w.detail, w.call)
INSERT INTO deliveries_closed (id, class, seq, record, connector, state, attempts, created_at, flow, key, school, cause, reference, detail, call, replay_of)
SELECT id, class, seq, record, connector, 7, attempts, created_at, flow, key, school, 'present', reference, detail, call, replay_of FROM gone
RETURNING id

-- name: promote
WITH n AS (
  SELECT x.id FROM unnest($1::smallint[], $2::bigint[]) w(connector, order_key)
  CROSS JOIN LATERAL (
    SELECT h.id FROM deliveries h
    WHERE h.connector = w.connector AND h.order_key = w.order_key AND h.state = 1 ORDER BY h.seq LIMIT 1) x)
UPDATE deliveries d SET state = 2, cause = 'promoted', since = clock_timestamp() FROM n WHERE d.id = n.id
RETURNING d.id

-- name: task_open
INSERT INTO tasks (connector, cause, subject, text, data)
SELECT * FROM unnest($1::smallint[], $2::text[], $3::text[], $4::jsonb[], $5::jsonb[])
ON CONFLICT (coalesce(connector, 0), cause, subject) WHERE state = 'open' DO UPDATE SET text = excluded.text
RETURNING id, connector, cause, subject

-- name: leases_lost
WITH l AS (
  SELECT id FROM deliveries WHERE lease_until < clock_timestamp() AND state = 3 ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
UPDATE deliveries d
SET state = CASE WHEN d.intent IS NULL THEN 2 ELSE 6 END,
    cause = CASE WHEN d.intent IS NULL THEN 'lease_lost' ELSE 'lease_lost_intent' END,
    due_at = CASE WHEN d.intent IS NOT NULL
      THEN clock_timestamp() + coalesce((c.settings -> 'policy' ->> 'settle_after_s')::float8, 30) * interval '1 second' END,
    claim = NULL, lease_until = NULL, since = clock_timestamp()
FROM l, connectors c WHERE d.id = l.id AND c.id = d.connector
RETURNING d.id, d.class, d.connector, d.state, d.intent

-- name: leases_lost_uncertain
UPDATE deliveries SET claim = NULL, lease_until = NULL WHERE lease_until < clock_timestamp() AND state = 6

-- name: connectors_all
SELECT id, name, system, settings, secrets, revision, state, pause_cause, pause_message, paused_at FROM connectors ORDER BY name

-- name: connector_pause
UPDATE connectors SET state = 'paused', pause_cause = $2, pause_message = $3, paused_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = $1 AND state = 'active' RETURNING id

-- name: connector_resume
UPDATE connectors SET state = 'active', pause_cause = NULL, pause_message = NULL, paused_at = NULL, updated_at = clock_timestamp()
WHERE id = $1 AND state = 'paused' RETURNING id

-- name: anything_uncertain
SELECT EXISTS (
  SELECT 1 FROM deliveries
  WHERE connector = $1 AND state = 6 AND due_at <= clock_timestamp() AND (lease_until IS NULL OR lease_until < clock_timestamp()))

-- name: anything_ready
SELECT EXISTS (
  SELECT 1 FROM deliveries d WHERE connector = $1 AND state = 2 AND rank < 1152921504606846976
    AND NOT EXISTS (SELECT 1 FROM paused_shares p WHERE p.connector = $1 AND p.school = coalesce(d.school, '')))
