-- name: evidence_record
SELECT * FROM records WHERE id = $1

-- name: evidence_records
SELECT * FROM records WHERE id = ANY ($1::bigint[])

-- name: evidence_record_of_key
SELECT record FROM streams WHERE type = $1 AND key = $2 AND record <> 0

-- name: evidence_record_of_delivery
SELECT record FROM (SELECT record FROM deliveries WHERE id = $1 UNION ALL SELECT record FROM deliveries_closed WHERE id = $1) x LIMIT 1

-- name: evidence_latest_of_key
SELECT id FROM records WHERE type = $1 AND key = $2 ORDER BY id DESC LIMIT 1

-- name: evidence_original
-- Of a copy made when a day was dropped (4), the record it was made of: it is there as long as that day is.
SELECT o.id FROM records c JOIN records o ON o.type = c.type AND o.key = c.key AND o.message = c.message AND o.version = c.version
WHERE c.id = $1 AND c.disposition = 4 AND o.id < c.id AND o.class = c.class AND o.disposition NOT IN (2, 4) ORDER BY o.id LIMIT 1

-- name: evidence_copies
-- The copies made of these records, which stood for them from then on: what was sent of them since is sent of a copy.
SELECT c.id AS copy, o.id AS original FROM records o JOIN records c ON c.type = o.type AND c.key = o.key AND c.message = o.message AND c.version = o.version
WHERE o.id = ANY ($1::bigint[]) AND o.disposition NOT IN (2, 4) AND c.id > o.id AND c.class = o.class AND c.disposition = 4

-- name: evidence_filing
-- A filing's other records, newest first: its versions and the steps told of it, but neither what was sent again unchanged (2)
-- nor copies made when a day was dropped (4): they say nothing new. `n`: how many there are.
SELECT id, count(*) OVER () AS n FROM records
WHERE ((type = 'filing' AND key = $1) OR (type = 'filing_progress' AND key >= $1 || '/' AND key < $1 || '0'))
  AND ($2::text[] IS NULL OR school = ANY ($2)) AND id <> $3 AND disposition NOT IN (2, 4)
ORDER BY id DESC LIMIT $4

-- name: evidence_messages
SELECT m.*, s.kind AS source_kind, s.name AS source_name FROM messages m JOIN sources s ON s.id = m.source WHERE m.id = ANY ($1::bigint[]) AND m.class = ANY ($2::smallint[])

-- name: evidence_siblings
SELECT id, message, class, content, school FROM records
WHERE message = ANY ($1::bigint[]) AND class = ANY ($2::smallint[]) AND disposition <> 4 ORDER BY id

-- name: evidence_rejects
SELECT message, count(*) AS n FROM rejects WHERE message = ANY ($1::bigint[]) GROUP BY message

-- name: evidence_deliveries
SELECT d.id, d.record, d.class, c.name AS connector, d.state, d.attempts, d.created_at, NULL::timestamptz AS closed_at, d.flow, d.cause,
  NULL AS reference, NULL AS detail, d.intent AS call, d.replay_of
FROM deliveries d JOIN connectors c ON c.id = d.connector WHERE d.record = ANY ($1::bigint[])
UNION ALL
SELECT d.id, d.record, d.class, c.name, d.state, d.attempts, d.created_at, d.closed_at, d.flow, d.cause, d.reference, d.detail, d.call, d.replay_of
FROM deliveries_closed d JOIN connectors c ON c.id = d.connector WHERE d.record = ANY ($1::bigint[])
ORDER BY id

-- name: evidence_attempts
SELECT id, delivery, call, number, kind, outcome, reason, late, worker, elapsed_ms, at FROM attempts WHERE delivery = ANY ($1::bigint[]) ORDER BY at, id

-- name: evidence_calls
SELECT * FROM calls WHERE id = ANY ($1::bigint[]) AND class = ANY ($2::smallint[]) ORDER BY id

-- name: evidence_schools
-- The schools a call speaks of: all its deliveries', whoever asks.
SELECT c.id, array_agg(DISTINCT coalesce(d.school, '')) AS schools FROM calls c
CROSS JOIN LATERAL (SELECT school FROM deliveries WHERE id = ANY (c.deliveries)
                    UNION ALL SELECT school FROM deliveries_closed WHERE id = ANY (c.deliveries)) d
WHERE c.id = ANY ($1::bigint[]) AND c.class = ANY ($2::smallint[]) GROUP BY c.id

-- name: evidence_replies
SELECT * FROM replies WHERE call = ANY ($1::bigint[]) ORDER BY id

-- name: evidence_entries
-- The journal's lines that speak of a message, of deliveries, of copies, or of one of them alone, within a time. No index leads to
-- them: whole days of one class are read, which is rare and bounded.
SELECT id, class, tx::text AS tx, at, actor, kind, connector, subject, ids, data, leaves FROM journal
WHERE class = $1 AND id >= id_day($2) AND id < id_day($3)
  AND ((kind = ANY (ARRAY['intake', 'decoded', 'judged_again', 'conclude', 'carried']) AND ids && $4::bigint[]) OR subject = ANY ($4::bigint[]))
ORDER BY tx, id

-- name: evidence_seals
-- Those of these days that hold one of these transactions ($2, sorted), each found among them by halving: there may be many of
-- both.
SELECT number, from_tx::text AS from_tx, to_tx::text AS to_tx, entries, root, day FROM seals
WHERE class = $1 AND day >= $3 AND day < $4
  AND width_bucket(to_tx::text::bigint - 1, $2::bigint[]) > width_bucket(from_tx::text::bigint - 1, $2::bigint[])
ORDER BY number

-- name: evidence_sealed
-- The entries of these seals in the order each was computed of them (`seal_rows`: the transaction as text). OFFSET 0: seal by
-- seal, by the journal's index.
SELECT s.number, j.* FROM seals s CROSS JOIN LATERAL (
  SELECT id, tx::text AS tx, at, actor, kind, connector, subject, ids, data FROM journal
  WHERE tx >= s.from_tx AND tx < s.to_tx AND class = s.class AND id >= id_day(s.day) AND id < id_day(s.day + 1) OFFSET 0) j
WHERE s.number = ANY ($1::bigint[]) ORDER BY s.number, j.tx, j.id

-- name: evidence_anchors_after
SELECT l.last, a.seal, a.chain, a.at, true AS anchored FROM unnest($1::bigint[]) l(last)
CROSS JOIN LATERAL (SELECT seal, chain, at FROM anchors WHERE seal >= l.last ORDER BY seal LIMIT 1) a

-- name: evidence_head
SELECT number AS seal, chain, at, false AS anchored FROM seals ORDER BY number DESC LIMIT 1

-- name: evidence_links
SELECT number, root FROM seals WHERE number BETWEEN $1 AND $2 ORDER BY number

-- name: evidence_befores
SELECT number, chain FROM seals WHERE number = ANY ($1::bigint[])

-- name: anchor_add
INSERT INTO anchors (day, seal, chain)
SELECT (now() AT TIME ZONE 'UTC')::date, number, chain FROM seals ORDER BY number DESC LIMIT 1
ON CONFLICT DO NOTHING RETURNING day, seal, chain, at

-- name: anchors_latest
SELECT day, seal, chain, at FROM anchors ORDER BY seal DESC LIMIT $1

-- name: evidence_exchange
-- The deliveries of a call with the records they owe, and which try of each it was.
SELECT d.id AS delivery, d.flow, r.id AS record, r.type, r.key, r.event, r.version, r.updated_at, r.school, r.body,
  coalesce((SELECT a.number FROM attempts a WHERE a.delivery = d.id AND a.call = $2 ORDER BY a.id LIMIT 1), 1) AS attempt
FROM (SELECT id, record, flow FROM deliveries WHERE id = ANY ($1::bigint[])
      UNION ALL SELECT id, record, flow FROM deliveries_closed WHERE id = ANY ($1::bigint[])) d
JOIN records r ON r.id = d.record

-- name: evidence_call_of_delivery
-- The last try of a delivery that was answered, or else its last.
SELECT a.call FROM attempts a WHERE a.delivery = $1 AND a.kind = 'send' AND a.call IS NOT NULL
ORDER BY EXISTS (SELECT FROM replies r WHERE r.call = a.call AND r.status IS NOT NULL) DESC, a.id DESC LIMIT 1

-- name: evidence_call
SELECT c.*, k.name AS connector_name, k.system, k.settings, k.secrets FROM calls c JOIN connectors k ON k.id = c.connector WHERE c.id = $1

-- name: evidence_asked_about
-- The call an inquiry ($1, about the deliveries $2) asks about: the last one sent before it for the same delivery. Nothing when
-- the call is no inquiry. Attempts are found by their delivery, which is what there is an index for.
SELECT o.call FROM attempts q JOIN attempts o ON o.delivery = q.delivery AND o.kind = 'send' AND o.call IS NOT NULL AND o.call < q.call
WHERE q.delivery = ANY ($2::bigint[]) AND o.delivery = ANY ($2::bigint[]) AND q.call = $1 AND q.kind = 'inquire' ORDER BY o.call DESC LIMIT 1

-- name: evidence_heard
-- What a connector's counterparty told outside a delivery: a page of a list, an event.
SELECT m.id, m.body, m.content_type, m.received_at, m.attributes, k.name AS connector_name, k.system, k.settings, k.secrets
FROM messages m JOIN sources s ON s.id = m.source AND s.kind = 'connector' JOIN connectors k ON k.name = s.name
WHERE m.id = $1 AND m.attributes ?| ARRAY['pull', 'callback']
