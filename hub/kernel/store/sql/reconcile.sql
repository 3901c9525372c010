-- Reconciliation: gathering two sides, comparing them by group and, where groups differ, by key; the repair's pages.

-- name: reconcile_begin
INSERT INTO reconciliations (key, connector, type, school, actor) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO NOTHING

-- name: reconcile_forget
DELETE FROM reconciliations WHERE begun_at < clock_timestamp() - $1::float8 * interval '1 day'

-- name: reconcile_forget_rows
DELETE FROM reconcile_rows x WHERE NOT EXISTS (SELECT 1 FROM reconciliations r WHERE r.id = x.run)

-- name: reconcile_by_key
SELECT * FROM reconciliations WHERE key = $1

-- name: reconcile_one
SELECT * FROM reconciliations WHERE id = $1

-- name: reconcile_lock
SELECT * FROM reconciliations WHERE id = $1 FOR UPDATE

-- name: reconcile_latest
SELECT r.*, (SELECT count(*) FROM reconcile_differences d WHERE d.run = r.id AND ($2::text[] IS NULL OR d.school = ANY ($2))) AS differences
FROM reconciliations r WHERE ($2::text[] IS NULL OR r.school = ANY ($2)) ORDER BY r.id DESC LIMIT $1

-- name: current_page
-- Current living versions in key order.
SELECT s.key, s.version, s.event, s.school, r.updated_at, r.body
FROM (SELECT * FROM streams WHERE type = $1 AND key > $2 AND event NOT IN ('MOVED', 'CANCEL') AND ($5::text IS NULL OR school = $5)
      ORDER BY key LIMIT $3) s
LEFT JOIN records r ON r.id = s.record AND r.class = $4
ORDER BY s.key

-- name: reconcile_ours
-- Moves on only from where the page began: a page staged by another in the meantime is not staged twice.
UPDATE reconciliations SET ours_after = $3, ours_done = $4, ours_rows = ours_rows + $5, unread = unread + $6
WHERE id = $1 AND ours_after = $2 AND NOT ours_done AND state = 'gathering' RETURNING id

-- name: reconcile_theirs
UPDATE reconciliations SET theirs_after = $3, theirs_done = $4, theirs_rows = theirs_rows + $5, unread = unread + $6
WHERE id = $1 AND theirs_after IS NOT DISTINCT FROM $2 AND NOT theirs_done AND state = 'gathering' RETURNING id

-- name: reconcile_staged
SELECT count(*) FILTER (WHERE side = 1) AS ours, count(*) FILTER (WHERE side = 2) AS theirs FROM reconcile_rows WHERE run = $1

-- name: reconcile_anew
UPDATE reconciliations SET ours_after = '', ours_done = false, ours_rows = 0, theirs_after = NULL, theirs_done = false, theirs_rows = 0, unread = 0
WHERE id = $1

-- name: reconcile_empty
DELETE FROM reconcile_rows WHERE run = $1

-- name: reconcile_group
-- A class is the same when both sides have as many and the sum over both of all hashes, bit by bit, is nothing.
INSERT INTO reconcile_groups (run, school, class, ours, theirs, same)
SELECT $1, school, class, count(*) FILTER (WHERE side = 1), count(*) FILTER (WHERE side = 2),
  count(*) FILTER (WHERE side = 1) = count(*) FILTER (WHERE side = 2) AND coalesce(bit_xor(h1), 0) = 0 AND coalesce(bit_xor(h2), 0) = 0
  AND count(*) = count(h1)
FROM reconcile_rows WHERE run = $1 GROUP BY school, class

-- name: reconcile_descend
-- Key by key, in the groups that differ alone. A learner in another class there is in two of them, and joined by key.
-- The receiver ignores a version not above its own: what it holds otherwise under ours or a newer one a person must look at.
WITH c AS MATERIALIZED (
  SELECT r.* FROM reconcile_rows r JOIN reconcile_groups g ON g.run = r.run AND g.school = r.school AND g.class = r.class
  WHERE r.run = $1 AND NOT g.same
), x AS MATERIALIZED (
  SELECT coalesce(o.school, t.school) AS school, coalesce(o.class, t.class) AS class, coalesce(o.key, t.key) AS key, o.key AS here, t.key AS there,
    o.version AS ours, t.version AS theirs, o.h1 IS NULL OR (t.key IS NOT NULL AND t.h1 IS NULL) AS unread
  FROM (SELECT * FROM c WHERE side = 1) o FULL JOIN (SELECT * FROM c WHERE side = 2) t ON t.key = o.key
  WHERE o.key IS NULL OR t.key IS NULL OR (o.h1 IS NOT NULL AND (t.h1, t.h2) IS DISTINCT FROM (o.h1, o.h2))
)
INSERT INTO reconcile_differences (run, side, school, class, key, kind, ours, theirs, action)
SELECT $1, 'counterparty', x.school, x.class, x.key,
  CASE WHEN there IS NULL THEN 'missing_there' WHEN here IS NULL THEN 'missing_here' ELSE 'differs' END, ours, theirs,
  CASE WHEN EXISTS (SELECT 1 FROM deliveries d WHERE d.record = s.record AND d.connector = $3) THEN 'on_its_way'
    WHEN there IS NULL THEN CASE WHEN unread THEN 'person' ELSE 'send' END
    WHEN here IS NULL THEN CASE WHEN s.event = 'CANCEL' AND s.version > theirs THEN 'cancel' ELSE 'person' END
    WHEN ours > theirs AND NOT unread THEN 'send' ELSE 'person' END
FROM x LEFT JOIN streams s ON s.type = $2 AND s.key = x.key
ON CONFLICT DO NOTHING

-- name: reconcile_school_side
-- Rosters against current records, by the hash of canonical content. A code given in place of a temporary one leads to its key.
WITH o AS (
  SELECT r.school, r.class, r.content,
    coalesce((SELECT g.anchor FROM codes_given g WHERE g.code = r.key), CASE WHEN r.key LIKE 'TAM-%' THEN r.key || '@' || r.school ELSE r.key END) AS key
  FROM roster_rows r WHERE r.type = $2 AND ($3::text IS NULL OR r.school = $3)
), h AS (
  SELECT s.key, s.school, s.content, s.version FROM streams s JOIN rosters t ON t.type = s.type AND t.school = s.school
  WHERE s.type = $2 AND s.event NOT IN ('MOVED', 'CANCEL') AND ($3::text IS NULL OR s.school = $3)
)
INSERT INTO reconcile_differences (run, side, school, class, key, kind, ours, action)
SELECT $1, 'school', coalesce(o.school, h.school), coalesce(o.class, ''), coalesce(o.key, h.key),
  CASE WHEN h.key IS NULL THEN 'missing_here' WHEN o.key IS NULL THEN 'missing_there' ELSE 'differs' END, h.version, 'school'
FROM o FULL JOIN h ON h.key = o.key AND h.school = o.school
WHERE o.key IS NULL OR h.key IS NULL OR o.content <> h.content
ON CONFLICT DO NOTHING

-- name: reconcile_compared
UPDATE reconciliations SET state = 'compared', compared_at = clock_timestamp() WHERE id = $1

-- name: reconcile_differing
-- What differs by school, the most first; what is on its way already does not count.
SELECT school, count(*)::int AS total, count(*) FILTER (WHERE action IN ('send', 'cancel'))::int AS queueable,
  count(*) FILTER (WHERE action = 'person')::int AS person, count(*) FILTER (WHERE action = 'school')::int AS push
FROM reconcile_differences WHERE run = $1 AND action <> 'on_its_way' GROUP BY school ORDER BY 2 DESC, 1

-- name: reconcile_counts
SELECT side, kind, action, done, count(*)::int AS n FROM reconcile_differences
WHERE run = $1 AND ($2::text[] IS NULL OR school = ANY ($2)) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4

-- name: reconcile_totals
SELECT count(DISTINCT school)::int AS schools, count(DISTINCT school) FILTER (WHERE NOT same)::int AS schools_differ, count(*)::int AS classes,
  count(*) FILTER (WHERE NOT same)::int AS classes_differ, coalesce(sum(ours), 0)::bigint AS ours, coalesce(sum(theirs), 0)::bigint AS theirs
FROM reconcile_groups WHERE run = $1 AND ($2::text[] IS NULL OR school = ANY ($2))

-- name: reconcile_groups_differ
SELECT school, class, ours, theirs FROM reconcile_groups
WHERE run = $1 AND NOT same AND ($2::text[] IS NULL OR school = ANY ($2)) ORDER BY school, class LIMIT $3

-- name: reconcile_differences_page
SELECT d.side, d.school, d.class, d.key, d.kind, d.ours, d.theirs, d.action, d.done,
  (SELECT s.record FROM streams s WHERE s.type = r.type AND s.key = d.key AND s.event <> 'MOVED') AS record
FROM reconcile_differences d JOIN reconciliations r ON r.id = d.run
WHERE d.run = $1 AND (d.side, d.key) > ($2::text, $3::text) AND ($4::text[] IS NULL OR d.school = ANY ($4)) ORDER BY d.side, d.key LIMIT $5

-- name: reconcile_repair_page
SELECT d.key, d.kind, s.record, s.school, s.event, s.version, r.updated_at, r.body
FROM (SELECT * FROM reconcile_differences WHERE run = $1 AND done IS NULL AND action IN ('send', 'cancel') AND side = 'counterparty' ORDER BY key LIMIT $4) d
JOIN streams s ON s.type = $2 AND s.key = d.key
LEFT JOIN records r ON r.id = s.record AND r.class = $3
ORDER BY d.key

-- name: reconcile_left
SELECT count(*)::int FROM reconcile_differences WHERE run = $1 AND done IS NULL AND action IN ('send', 'cancel') AND side = 'counterparty'

-- name: reconcile_unlearn
-- What the counterparty was seen not to hold counts as never given; what it holds otherwise as given, but not known what.
WITH gone AS (
  DELETE FROM given g USING unnest($3::text[], $4::boolean[]) w(key, missing)
  WHERE g.connector = $1 AND g.type = $2 AND g.key = w.key AND w.missing RETURNING 1
)
UPDATE given g SET content = ''::bytea FROM unnest($3::text[], $4::boolean[]) w(key, missing)
WHERE g.connector = $1 AND g.type = $2 AND g.key = w.key AND NOT w.missing

-- name: reconcile_done
UPDATE reconcile_differences d SET done = w.done FROM unnest($2::text[], $3::text[]) w(key, done)
WHERE d.run = $1 AND d.side = 'counterparty' AND d.key = w.key

-- name: reconcile_repaired
UPDATE reconciliations SET state = 'repaired', repaired_at = clock_timestamp() WHERE id = $1 AND state = 'compared'

-- name: roster_begin
INSERT INTO rosters (type, school, client, count) VALUES ($1, $2, $3, $4)
ON CONFLICT (type, school) DO UPDATE SET client = excluded.client, count = excluded.count, at = clock_timestamp()

-- name: roster_empty
DELETE FROM roster_rows WHERE type = $1 AND school = $2

-- name: roster_compare
-- The same as `reconcile_school_side` for one school, told rather than kept.
WITH o AS (
  SELECT r.class, r.content,
    coalesce((SELECT g.anchor FROM codes_given g WHERE g.code = r.key), CASE WHEN r.key LIKE 'TAM-%' THEN r.key || '@' || r.school ELSE r.key END) AS key
  FROM roster_rows r WHERE r.type = $1 AND r.school = $2
), h AS (
  SELECT s.key, s.content FROM streams s WHERE s.type = $1 AND s.school = $2 AND s.event NOT IN ('MOVED', 'CANCEL')
)
SELECT coalesce(o.key, h.key) AS key, coalesce(o.class, '') AS class,
  CASE WHEN h.key IS NULL THEN 'missing_here' WHEN o.key IS NULL THEN 'missing_there' ELSE 'differs' END AS kind
FROM o FULL JOIN h ON h.key = o.key
WHERE o.key IS NULL OR h.key IS NULL OR o.content <> h.content
ORDER BY 3, 1
