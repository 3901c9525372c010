-- name: cli_records
SELECT id, type, key, event, version, school, disposition, created_at FROM records
WHERE $1::text IS NULL OR key = $1 ORDER BY id DESC LIMIT $2
