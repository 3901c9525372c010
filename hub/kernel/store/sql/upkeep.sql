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
