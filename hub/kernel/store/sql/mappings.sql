-- name: mappings_keep
INSERT INTO mappings (digest, content) SELECT * FROM unnest($1::bytea[], $2::bytea[]) ON CONFLICT DO NOTHING

-- name: mappings_parts
SELECT digest, content FROM mappings WHERE digest = ANY ($1::bytea[])
