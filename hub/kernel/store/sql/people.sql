-- name: user_try
-- Counts the try before the password is looked at, so that tries at once cannot outrun the limit. No row: no such user,
-- not allowed to sign in, or blocked for now.
UPDATE users SET failed = failed + 1,
  blocked_until = CASE WHEN failed + 1 >= $2::int
    THEN clock_timestamp() + least(30 * 2 ^ least(failed + 1 - $2::int, 10), 900) * interval '1 second' END
WHERE name = $1 AND state = 'active' AND (blocked_until IS NULL OR blocked_until <= clock_timestamp())
RETURNING name, title, role, password_hash, must_change, scope_kind, scope_code, failed

-- name: user_blocked_s
SELECT greatest(0, extract(epoch FROM blocked_until - clock_timestamp()))::float8 FROM users WHERE name = $1

-- name: user_signed_in
UPDATE users SET failed = 0, blocked_until = NULL, password_hash = $2 WHERE name = $1

-- name: user_password
UPDATE users SET password_hash = $2, must_change = $3, failed = 0, blocked_until = NULL WHERE name = $1 RETURNING name

-- name: user_password_hash
SELECT password_hash FROM users WHERE name = $1

-- name: user_add
INSERT INTO users (name, title, role, password_hash, must_change, scope_kind, scope_code) VALUES ($1, $2, $3, $4, true, $5, $6)
ON CONFLICT (name) DO NOTHING RETURNING name

-- name: users_lock
SELECT pg_advisory_xact_lock(7004)

-- name: user_first
-- The first administrator, or a new one-time password for one who never used theirs.
INSERT INTO users (name, title, role, password_hash, must_change)
SELECT $1, $2, 'admin', $3, true WHERE NOT EXISTS (SELECT 1 FROM users WHERE name <> $1)
ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash, failed = 0, blocked_until = NULL
  WHERE users.must_change AND users.state = 'active' AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_name = users.name)
RETURNING name

-- name: user_state
-- The last active administrator of the department cannot be blocked.
UPDATE users SET state = $2 WHERE name = $1 AND state <> $2 AND ($2 = 'active' OR EXISTS (
  SELECT 1 FROM users o WHERE o.name <> $1 AND o.role = 'admin' AND o.state = 'active' AND o.scope_kind = 'department'))
RETURNING name

-- name: users_all
SELECT u.name, u.title, u.role, u.must_change, u.state, u.scope_kind, u.scope_code, u.failed, u.created_at,
  u.blocked_until > clock_timestamp() AS blocked_now, s.seen_at, coalesce(s.n, 0) AS sessions
FROM users u LEFT JOIN (
  SELECT user_name, max(seen_at) AS seen_at, count(*) FILTER (WHERE until > clock_timestamp()) AS n FROM sessions GROUP BY 1) s ON s.user_name = u.name
ORDER BY u.state, u.name

-- name: session_add
INSERT INTO sessions (digest, user_name, csrf, until) VALUES ($1, $2, $3, clock_timestamp() + $4::float8 * interval '1 second')

-- name: session_find
SELECT s.csrf, u.name, u.title, u.role, u.must_change, u.scope_kind, u.scope_code,
  extract(epoch FROM clock_timestamp() - s.seen_at)::float8 AS idle_s
FROM sessions s JOIN users u ON u.name = s.user_name
WHERE s.digest = $1 AND s.until > clock_timestamp() AND s.seen_at > clock_timestamp() - $2::float8 * interval '1 second' AND u.state = 'active'

-- name: session_touch
UPDATE sessions SET seen_at = clock_timestamp() WHERE digest = $1

-- name: session_end
DELETE FROM sessions WHERE digest = $1

-- name: sessions_end_of
DELETE FROM sessions WHERE user_name = $1 AND ($2::bytea IS NULL OR digest <> $2)

-- name: sessions_sweep
DELETE FROM sessions WHERE until < clock_timestamp() - interval '1 day'
