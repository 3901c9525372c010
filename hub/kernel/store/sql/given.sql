-- What counterparties were last given, what waits for that, and the codes given in place of temporary ones.

-- name: given_write
INSERT INTO given (connector, type, key, content, version, cancelled)
SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bytea[], $5::int[], $6::boolean[])
ON CONFLICT (connector, type, key) DO UPDATE
SET content = excluded.content, version = excluded.version, cancelled = excluded.cancelled, at = clock_timestamp()
WHERE excluded.version > given.version OR (excluded.version = given.version AND excluded.content <> '')

-- name: given_of
SELECT g.type, g.key, g.content, g.version FROM unnest($2::text[], $3::text[]) w(type, key)
CROSS JOIN LATERAL (SELECT * FROM given x WHERE x.connector = $1 AND x.type = w.type AND x.key = w.key LIMIT 1) g

-- name: needs_met
-- Of these names, those whose entity the counterparty was given and still has; of a lasting code, that there is one.
SELECT w.name FROM unnest($2::text[], $3::text[], $4::text[]) w(name, type, stem)
WHERE EXISTS (SELECT 1 FROM given g WHERE g.connector = $1 AND g.type = w.type AND g.key = w.stem AND NOT g.cancelled)
   OR EXISTS (SELECT 1 FROM given g WHERE g.connector = $1 AND g.type = w.type AND g.key >= w.stem || '/' AND g.key < w.stem || '0'
              AND NOT g.cancelled)
   OR (w.type = 'code_given' AND EXISTS (SELECT 1 FROM codes_given c WHERE c.anchor = w.stem))

-- name: needs_known
-- Of these names, those whose entity the hub has a living record of.
SELECT w.name FROM unnest($1::text[], $2::text[], $3::text[]) w(name, type, stem)
WHERE EXISTS (SELECT 1 FROM streams s WHERE s.type = w.type AND s.key = w.stem AND s.event <> 'CANCEL')
   OR EXISTS (SELECT 1 FROM streams s WHERE s.type = w.type AND s.key >= w.stem || '/' AND s.key < w.stem || '0' AND s.event <> 'CANCEL')

-- name: waits_facts
SELECT id, anyway, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age_s FROM deliveries WHERE id = ANY ($1::bigint[])

-- name: waits_set
UPDATE deliveries d SET waits_for = w.name FROM unnest($1::bigint[], $2::text[]) w(id, name) WHERE d.id = w.id AND d.state = 4

-- name: waits_promote
UPDATE deliveries SET state = 2, cause = 'prerequisite_met', waits_for = NULL, due_at = NULL, since = clock_timestamp()
WHERE connector = $1 AND waits_for = ANY ($2::text[]) AND state = 4
RETURNING id

-- name: waits_send
UPDATE deliveries SET state = 2, cause = 'sent_anyway', waits_for = NULL, anyway = true, due_at = NULL, since = clock_timestamp()
WHERE connector = $1 AND waits_for = $2 AND state = 4 AND ($3::text[] IS NULL OR school = ANY ($3))
RETURNING id

-- name: waits_anyway
UPDATE deliveries SET anyway = true WHERE id = ANY ($1::bigint[])

-- name: waits_list
-- What is waited for, by how many, and where the delivery of that entity stands itself.
SELECT w.connector, w.waits_for, w.n, w.oldest, w.schools, p.id AS delivery, p.state, p.cause, p.waits_for AS itself_waits_for, t.text AS task
FROM (SELECT connector, waits_for, count(*) AS n, min(created_at) AS oldest, (array_agg(DISTINCT school))[1:6] AS schools
      FROM deliveries
      WHERE waits_for IS NOT NULL AND state = 4 AND ($1::text[] IS NULL OR school = ANY ($1)) AND ($2::smallint IS NULL OR connector = $2)
      GROUP BY 1, 2 ORDER BY n DESC, waits_for LIMIT 200) w
LEFT JOIN LATERAL (SELECT split_part(w.waits_for, ':', 1) AS type, rtrim(substr(w.waits_for, strpos(w.waits_for, ':') + 1), '/') AS stem) n ON true
LEFT JOIN LATERAL (
  SELECT x.* FROM streams s CROSS JOIN LATERAL (
    SELECT d.id, d.state, d.cause, d.waits_for, d.task FROM deliveries d WHERE d.record = s.record AND d.connector = w.connector
    UNION ALL
    SELECT c.id, c.state, c.cause, NULL, NULL FROM deliveries_closed c WHERE c.record = s.record AND c.connector = w.connector
    ORDER BY state LIMIT 1) x
  WHERE s.type = n.type AND (s.key = n.stem OR (s.key >= n.stem || '/' AND s.key < n.stem || '0')) LIMIT 1) p ON true
LEFT JOIN tasks t ON t.id = p.task
ORDER BY w.n DESC, w.waits_for

-- name: waits_overdue_open
SELECT id, connector, subject FROM tasks WHERE state = 'open' AND cause = 'prerequisite_overdue' ORDER BY id LIMIT 1000

-- name: given_seen
-- What people saw at the counterparty counts as given, whatever it was, where it is written down: $2 to $4 are the flows,
-- connectors and types that it is of.
INSERT INTO given (connector, type, key, content, version, cancelled)
SELECT DISTINCT ON (c.connector, r.type, c.key) c.connector, r.type, c.key, ''::bytea, r.version, r.event = 'CANCEL'
FROM deliveries_closed c JOIN records r ON r.id = c.record AND r.class = c.class
WHERE c.id = ANY ($1::bigint[]) AND c.state = 7
  AND (c.flow, c.connector, r.type) IN (SELECT * FROM unnest($2::text[], $3::smallint[], $4::text[]))
ORDER BY c.connector, r.type, c.key, r.version DESC
ON CONFLICT (connector, type, key) DO UPDATE SET content = excluded.content, version = excluded.version, cancelled = excluded.cancelled
WHERE excluded.version > given.version
RETURNING connector, type, key, cancelled

-- name: delta_page
-- Current versions in key order with what the counterparty was last given of them.
SELECT s.type, s.key, s.version, s.event, s.record, s.school, r.class, r.updated_at, r.body, g.content, g.cancelled
FROM (SELECT * FROM streams WHERE type = $2 AND key > $3 AND event <> 'MOVED' ORDER BY key LIMIT $4) s
LEFT JOIN records r ON r.id = s.record AND r.class = $5
LEFT JOIN given g ON g.connector = $1 AND g.type = s.type AND g.key = s.key
ORDER BY s.key

-- name: delta_again
-- The same for a few keys, once their order locks are held; `busy`: a delivery of theirs is on its way.
SELECT s.key, s.record, s.event, g.content,
  EXISTS (SELECT 1 FROM deliveries d WHERE d.connector = $1 AND d.order_key = w.order_key AND NOT d.aside) AS busy
FROM unnest($3::text[], $4::bigint[]) w(key, order_key)
JOIN streams s ON s.type = $2 AND s.key = w.key
LEFT JOIN given g ON g.connector = $1 AND g.type = $2 AND g.key = w.key

-- name: codes_look
SELECT anchor, code FROM codes_look($1::bigint[], $2::text[], $3::text[])

-- name: codes_add
INSERT INTO codes_given (anchor, code) VALUES ($1, $2)

-- name: codes_move
INSERT INTO streams (type, key, version, event, content, identity, record, school) VALUES ('learner', $1, 0, 'MOVED', $2, NULL, 0, $3)

-- name: codes_anchors
-- Where learners are kept who have one of these lasting codes in place of a temporary one.
SELECT code, anchor FROM codes_given WHERE code = ANY ($1::text[])

-- name: codes_lasting
-- The lasting codes of learners kept under these keys.
SELECT anchor, code FROM codes_given WHERE anchor = ANY ($1::text[])

-- name: codes_current
SELECT s.key, s.event, s.school, r.body FROM streams s
LEFT JOIN records r ON r.id = s.record AND r.class = 3
WHERE s.type = 'learner' AND s.key = ANY ($1::text[])

-- name: receipt_book
SELECT id, content_type, body FROM messages WHERE id = $1 OR upload = $1 ORDER BY chunk NULLS FIRST, id LIMIT 1

-- name: codes_people
-- Learners of a school still under a temporary code, by who they are.
SELECT key, identity FROM streams
WHERE type = 'learner' AND key LIKE 'TAM-%' AND school = $1 AND event <> 'CANCEL' AND identity = ANY ($2::bytea[])

-- name: staff_among
SELECT s.key FROM streams s WHERE s.type = 'staff' AND s.key = ANY ($1::text[])
  AND NOT EXISTS (SELECT 1 FROM streams l WHERE l.type = 'learner' AND l.key = s.key)
