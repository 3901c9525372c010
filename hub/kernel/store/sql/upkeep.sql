-- name: make_partitions
SELECT make_partitions($1)

-- name: default_rows
SELECT default_rows()

-- name: drop_partitions
SELECT drop_partitions($1, $2)

-- name: seal_lock
SELECT pg_try_advisory_xact_lock(7002)

-- name: keys_expire
DELETE FROM intake_keys WHERE digest IN (SELECT digest FROM intake_keys WHERE at < now() - $1 * interval '1 day' LIMIT 10000)

-- name: seals_all
SELECT number, from_tx::text AS from_tx, to_tx::text AS to_tx, entries, root, chain FROM seals ORDER BY number

-- name: sealed_rows
SELECT id, tx::text AS tx, at, actor, kind, connector, subject, ids, data FROM journal
WHERE tx >= $1::text::xid8 AND tx < $2::text::xid8 ORDER BY tx, id
