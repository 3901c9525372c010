-- name: filings_lock
SELECT number, school, state, since, said_by, step_at FROM filings WHERE number = ANY ($1::text[]) ORDER BY number FOR UPDATE

-- name: filings_current
SELECT s.key, r.body FROM streams s JOIN records r ON r.id = s.record AND r.class = $2
WHERE s.type = 'filing' AND s.key = ANY ($1::text[])

-- name: filings_write
INSERT INTO filings (number, school, agency, procedure, title, state, since, said_by, submitted_at, due_at, department, step_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::timestamptz[], $8::text[],
  $9::timestamptz[], $10::timestamptz[], $11::text[], $12::timestamptz[])
ON CONFLICT (number) DO UPDATE SET school = excluded.school, agency = excluded.agency, procedure = excluded.procedure, title = excluded.title,
  state = excluded.state, since = excluded.since, said_by = excluded.said_by, submitted_at = excluded.submitted_at, due_at = excluded.due_at,
  department = coalesce(excluded.department, filings.department), step_at = coalesce(excluded.step_at, filings.step_at),
  touched_at = clock_timestamp()

-- name: filings_step
UPDATE filings f SET state = coalesce(w.state, f.state), since = coalesce(w.since, f.since), said_by = coalesce(w.said_by, f.said_by),
  due_at = coalesce(w.due_at, f.due_at), department = coalesce(w.department, f.department), step_at = greatest(f.step_at, w.step_at),
  paid = f.paid + w.paid, touched_at = clock_timestamp()
FROM unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::text[], $5::timestamptz[], $6::text[], $7::timestamptz[], $8::bigint[])
  w(number, state, since, said_by, due_at, department, step_at, paid)
WHERE f.number = w.number

-- name: filing_inbox_add
INSERT INTO filing_inbox (number, message, reason, text, state, at, department, due_at, paid)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::jsonb[], $5::smallint[], $6::timestamptz[], $7::text[], $8::timestamptz[], $9::bigint[])

-- name: filing_inbox_of
SELECT id, number, state, at, department, due_at, paid FROM filing_inbox
WHERE closed_at IS NULL AND reason = 'unknown_filing' AND number = ANY ($1::text[]) ORDER BY at, id FOR UPDATE

-- name: filing_inbox_followed
UPDATE filing_inbox SET closed_at = clock_timestamp(), resolution = 'followed', actor = 'hub'
WHERE id = ANY ($1::bigint[]) AND closed_at IS NULL

-- name: filing_inbox_refused
UPDATE filing_inbox SET reason = 'state_not_allowed', text = w.text FROM unnest($1::bigint[], $2::jsonb[]) w(id, text)
WHERE filing_inbox.id = w.id AND closed_at IS NULL

-- name: filing_inbox_number
SELECT number FROM filing_inbox WHERE id = $1 AND closed_at IS NULL

-- name: filing_inbox_lock
SELECT id, number, state, at, department, due_at, paid FROM filing_inbox WHERE id = $1 AND closed_at IS NULL FOR UPDATE

-- name: filing_inbox_close
UPDATE filing_inbox SET closed_at = clock_timestamp(), resolution = $2, actor = $3, why = $4 WHERE id = $1

-- name: filing_inbox_open
SELECT i.id, i.number, i.message, i.reason, i.text, i.state, i.at, i.paid, i.opened_at, f.school, f.number IS NOT NULL AS known
FROM filing_inbox i LEFT JOIN filings f ON f.number = i.number WHERE i.closed_at IS NULL ORDER BY i.opened_at LIMIT 200

-- name: filings_watched
SELECT number, school, agency, state, since, due_at FROM filings WHERE state IN (1, 2, 4) AND due_at < $1 ORDER BY due_at, number

-- name: filings_due_between
SELECT number, agency, state, due_at FROM filings WHERE due_at >= $1 AND due_at < $2 ORDER BY due_at, number LIMIT 5000

-- name: filings_schools
SELECT number, school FROM filings WHERE number = ANY ($1::text[])

-- name: filings_inbox_count
SELECT count(*) FROM filing_inbox WHERE closed_at IS NULL

-- name: console_filings
SELECT number, school, agency, procedure, title, state, since, said_by, submitted_at, due_at, department, step_at, paid FROM filings
WHERE ($1::text[] IS NULL OR school = ANY ($1)) AND ($2::smallint[] IS NULL OR state = ANY ($2)) AND ($3::text IS NULL OR number LIKE $3)
  AND ($4::bool IS NULL OR (due_at IS NULL) = $4)
  AND ($5::timestamptz IS NULL OR (submitted_at, number) < ($5, $6::text))
ORDER BY submitted_at DESC, number DESC LIMIT $7

-- name: console_filings_due
SELECT number, school, agency, procedure, title, state, since, said_by, submitted_at, due_at, department, step_at, paid FROM filings
WHERE ($1::text[] IS NULL OR school = ANY ($1)) AND state IN (1, 2, 4, 5, 6) AND due_at IS NOT NULL AND ($2::timestamptz IS NULL OR (due_at, number) > ($2, $3::text))
ORDER BY due_at, number LIMIT $4

-- name: console_filings_counts
SELECT state, count(*) AS n, count(*) FILTER (WHERE due_at < clock_timestamp()) AS past FROM filings
WHERE ($1::text[] IS NULL OR school = ANY ($1)) GROUP BY state

-- name: console_filing
SELECT number, school, agency, procedure, title, state, since, said_by, submitted_at, due_at, department, step_at, paid FROM filings WHERE number = $1

-- name: console_filing_steps
SELECT id, class, type, key, event, version, updated_at, body, disposition, created_at, message FROM records
WHERE (type = 'filing' AND key = $1) OR (type = 'filing_progress' AND key >= $1 || '/' AND key < $1 || '0')
ORDER BY id LIMIT 300

-- name: filings_open
SELECT d.order_key, d.state, count(*) AS n FROM deliveries d WHERE d.connector = ANY ($1::smallint[]) AND d.order_key = ANY ($2::bigint[])
GROUP BY d.order_key, d.state

-- name: console_pulls
SELECT p.connector, p.what, p.cursor, p.run, p.state, p.page, p.records, p.unchanged, p.rejected, p.changes, p.fault, p.started_at, p.finished_at,
  (SELECT count(*) FROM pulled_entries e WHERE e.connector = p.connector AND e.what = p.what AND e.gone_at IS NULL) AS held
FROM pulls p ORDER BY p.connector, p.what

-- name: console_pulled_changes
SELECT id, connector, what, key, run, kind, before, after, at FROM pulled_changes WHERE ($1::bigint IS NULL OR id < $1) ORDER BY id DESC LIMIT 100

-- name: console_questions
SELECT r.id, r.body, r.updated_at FROM streams s JOIN records r ON r.id = s.record AND r.class = 2
WHERE s.type = 'portal_question' ORDER BY s.record DESC LIMIT 100
