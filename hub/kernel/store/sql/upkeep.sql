-- name: make_partition
SELECT make_partition($1)

-- name: default_rows
SELECT default_rows()

-- name: today
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date

-- name: days_before
SELECT day FROM days_before($1, $2) day

-- name: retire_day
SELECT retire_day($1, $2)

-- name: carry_pick
-- `$5`: an id given before the first copy: none of the copies is copied again.
SELECT r.id, r.type, r.key, r.message, r.content FROM records r JOIN streams s ON s.type = r.type AND s.key = r.key AND s.record = r.id
WHERE r.class = $1 AND r.id > $2 AND r.id < least(id_day($3), $5::bigint) AND s.event <> 'CANCEL' ORDER BY r.id LIMIT $4

-- name: carry_lock
SELECT s.type, s.key, s.record FROM unnest($1::text[], $2::text[], $3::bigint[]) w(type, key, record)
JOIN streams s ON s.type = w.type AND s.key = w.key AND s.record = w.record
ORDER BY s.type COLLATE "C", s.key COLLATE "C" FOR UPDATE OF s

-- name: carry_write
WITH moved AS (SELECT * FROM unnest($2::bigint[], $3::bigint[]) m(old, new)),
copied AS (
  INSERT INTO records (id, class, message, pointer, type, key, event, version, updated_at, school, body, content, catalogue, disposition, due, created_at)
  SELECT m.new, r.class, r.message, r.pointer, r.type, r.key, r.event, r.version, r.updated_at, r.school, r.body, r.content, r.catalogue, 4, 0, r.created_at
  FROM moved m JOIN records r ON r.id = m.old AND r.class = $1
  RETURNING id, type, key)
UPDATE streams s SET record = c.id FROM copied c WHERE s.type = c.type AND s.key = c.key

-- name: journal_note
INSERT INTO journal (id, class, actor, kind, ids, data, leaves) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: expire_lock
-- One process at a time: the others would only wait for the same rows.
SELECT pg_try_advisory_xact_lock(7026)

-- name: expire_days
-- The days that may have bodies older than so many days, with their span of ids. `past`: nothing new can come into it.
SELECT day, id_day(day) AS low, id_day(day + 1) AS high, day < (clock_timestamp() AT TIME ZONE 'UTC')::date - 1 AS past
FROM days_with_bodies($1, $2, (clock_timestamp() AT TIME ZONE 'UTC')::date - $3::int) day

-- name: expire_bite_messages
-- Where a bite ends, and how many bodies are in it.
SELECT max(id) AS last, count(*) AS n FROM (
  SELECT id FROM messages WHERE class = $1 AND id >= $2 AND id < $3 AND body IS NOT NULL ORDER BY id LIMIT $4) x

-- name: expire_bite_calls
SELECT max(id) AS last, count(*) AS n FROM (
  SELECT id FROM calls WHERE class = $1 AND id >= $2 AND id < $3 AND body IS NOT NULL ORDER BY id LIMIT $4) x

-- name: expire_bite_replies
SELECT max(id) AS last, count(*) AS n FROM (
  SELECT id FROM replies WHERE class = $1 AND id >= $2 AND id < $3 AND body IS NOT NULL ORDER BY id LIMIT $4) x

-- name: expire_messages
UPDATE messages m SET body = NULL, body_hash = sha256(body) WHERE m.class = $1 AND m.id BETWEEN $2 AND $3 AND m.body IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM inbox i WHERE i.message = m.id)

-- name: expire_calls
-- What an open delivery stands in, or is to be sent again as it is, stays. Two joins on equality: neither can ever come to
-- looking at each open delivery for each call.
WITH old AS MATERIALIZED (
  SELECT id, deliveries FROM calls WHERE class = $1 AND id BETWEEN $2 AND $3 AND body IS NOT NULL),
needed AS MATERIALIZED (
  SELECT o.id FROM old o CROSS JOIN LATERAL unnest(o.deliveries) u(delivery) JOIN deliveries d ON d.id = u.delivery
  UNION
  SELECT o.id FROM old o JOIN deliveries d ON d.resend = o.id)
UPDATE calls c SET body = NULL WHERE c.class = $1 AND c.id BETWEEN $2 AND $3 AND c.body IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM needed n WHERE n.id = c.id)

-- name: expire_replies
UPDATE replies SET body = NULL WHERE class = $1 AND id BETWEEN $2 AND $3 AND body IS NOT NULL

-- name: expired_day
INSERT INTO bodies_gone (what, class, day) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: expired_forget
-- Days that have been dropped need no mark.
DELETE FROM bodies_gone g USING retired r WHERE g.class = $1 AND r.class = g.class AND r.day = g.day

-- name: seal_lock
SELECT pg_try_advisory_xact_lock(7002)

-- name: keys_expire
DELETE FROM intake_keys WHERE digest IN (SELECT digest FROM intake_keys WHERE at < now() - $1 * interval '1 day' LIMIT 10000)

-- name: seals_all
SELECT number, from_tx::text AS from_tx, to_tx::text AS to_tx, entries, root, chain, class, day,
  $1::int IS NULL OR at >= now() - $1::int * interval '1 day' AS asked,
  EXISTS (SELECT 1 FROM retired t WHERE 'journal' = ANY (t.tables)
          AND (t.class = s.class AND t.day = s.day OR s.class IS NULL AND t.day <= s.at::date)) AS retired
FROM seals s ORDER BY number

-- name: sealed_rows
SELECT id, tx::text AS tx, at, actor, kind, connector, subject, ids, data FROM journal
WHERE tx >= $1::text::xid8 AND tx < $2::text::xid8
  AND ($3::smallint IS NULL OR class = $3 AND id >= id_day($4) AND id < id_day($4 + 1)) ORDER BY tx, id

-- name: patient
SELECT set_config('idle_in_transaction_session_timeout', '60000', true)
