-- name: callback_keys_open
-- Generations that open now, newest first, of these connectors.
SELECT connector, generation, salt, made_at, until FROM callback_keys
WHERE connector = ANY ($1::text[]) AND (until IS NULL OR until > clock_timestamp()) ORDER BY connector, generation DESC

-- name: callback_keys_last
SELECT max(generation) FROM callback_keys WHERE connector = $1

-- name: callback_keys_put_off
-- The present one opens for a while longer. The first time there is no row of it yet.
INSERT INTO callback_keys (connector, generation, salt, until) VALUES ($1, $2, ''::bytea, clock_timestamp() + $3::interval)
ON CONFLICT (connector, generation) DO UPDATE SET until = excluded.until WHERE callback_keys.until IS NULL

-- name: callback_keys_add
INSERT INTO callback_keys (connector, generation, salt) VALUES ($1, $2, $3) RETURNING made_at

-- name: callback_keys_end
UPDATE callback_keys SET until = clock_timestamp() WHERE connector = $1 AND until > clock_timestamp() RETURNING generation
