-- name: file_add
INSERT INTO files (id, source, school, content_type, bytes, piece, digest, name, verdict_state, verdict)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING id

-- name: file_row
SELECT id, school, content_type, bytes, piece, digest, name, erased_at FROM files WHERE id = $1

-- name: file_pieces
SELECT number, data FROM file_pieces WHERE file = $1 AND number BETWEEN $2 AND $3 ORDER BY number

-- name: files_known
SELECT id, school FROM files WHERE id = ANY ($1::uuid[]) AND erased_at IS NULL

-- name: files_link
UPDATE files SET linked_at = clock_timestamp() WHERE id = ANY ($1::uuid[]) AND linked_at IS NULL

-- name: files_expired
SELECT id FROM files WHERE erased_at IS NULL AND ((linked_at IS NULL AND kept_at < clock_timestamp() - $1 * interval '1 day')
  OR linked_at < clock_timestamp() - $2 * interval '1 day') LIMIT 500 FOR UPDATE SKIP LOCKED

-- name: files_erase
WITH gone AS (UPDATE files SET erased_at = clock_timestamp() WHERE id = ANY ($1::uuid[]) AND erased_at IS NULL RETURNING id)
DELETE FROM file_pieces p USING gone WHERE p.file = gone.id

-- name: files_bad
-- Documents whose signatures do not hold, but for those a person has let go to this connector.
SELECT f.id FROM files f WHERE f.id = ANY ($1::uuid[]) AND f.verdict_state = 'bad' AND NOT EXISTS (
  SELECT 1 FROM tasks t WHERE t.cause = 'bad_signature' AND t.subject = f.id::text AND t.connector = $2 AND t.resolution = 'release')

-- name: files_let_go
-- Of these subjects of documents kept elsewhere, those a person has let go to this connector.
SELECT DISTINCT subject FROM tasks WHERE cause = 'unchecked_document' AND subject = ANY ($1::text[]) AND connector = $2 AND resolution = 'release'

-- name: files_verdicts
SELECT id, verdict_state, verdict FROM files WHERE id = ANY ($1::uuid[])
