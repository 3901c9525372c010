-- Shares of schools at connectors that rest. Set aside: a rank of 2^60 (1152921504606846976) and above.

-- name: share_pause
INSERT INTO paused_shares (connector, school, cause, message) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING RETURNING school

-- name: share_resume
DELETE FROM paused_shares WHERE connector = $1 AND school = $2 RETURNING cause

-- name: shares_paused
SELECT c.name AS connector, p.school, s.name AS school_name, p.cause, p.message, p.paused_at,
  (SELECT count(*) FROM (SELECT 1 FROM deliveries d
     WHERE d.connector = p.connector AND d.state = 2 AND coalesce(d.school, '') = p.school LIMIT 10001) x) AS ready
FROM paused_shares p JOIN connectors c ON c.id = p.connector LEFT JOIN schools s ON s.code = p.school
WHERE $1::smallint IS NULL OR p.connector = $1
ORDER BY c.name, p.paused_at

-- name: shares_aside
-- What is ready in a paused share goes behind everything: claims need not pass over it again and again.
WITH w AS (
  SELECT x.id FROM paused_shares p CROSS JOIN LATERAL (
    SELECT d.id FROM deliveries d
    WHERE d.connector = p.connector AND d.state = 2 AND d.rank < 1152921504606846976 AND coalesce(d.school, '') = p.school
    ORDER BY d.rank LIMIT $1 FOR UPDATE OF d SKIP LOCKED) x)
UPDATE deliveries d SET rank = rank + 1152921504606846976 FROM w WHERE d.id = w.id AND d.state = 2 AND d.rank < 1152921504606846976
RETURNING d.id

-- name: shares_back
-- What was set aside and belongs to no paused share any more takes its old place again.
WITH w AS (
  SELECT x.id FROM connectors c CROSS JOIN LATERAL (
    SELECT d.id FROM deliveries d
    WHERE d.connector = c.id AND d.state = 2 AND d.rank >= 1152921504606846976
      AND NOT EXISTS (SELECT 1 FROM paused_shares p WHERE p.connector = c.id AND p.school = coalesce(d.school, ''))
    ORDER BY d.rank LIMIT $1 FOR UPDATE OF d SKIP LOCKED) x)
UPDATE deliveries d SET rank = rank - 1152921504606846976 FROM w WHERE d.id = w.id AND d.state = 2 AND d.rank >= 1152921504606846976
RETURNING d.id
