-- Gates that are held back, by whoever hears them.

-- name: gate_held_tell
-- What this reporter holds back now; what it held before, and what others did not say again in time, is gone.
WITH mine AS (
  INSERT INTO gate_held (device, kind, reporter, until)
  SELECT w.device, w.kind, $3, clock_timestamp() + $4::float8 * interval '1 second' FROM unnest($1::text[], $2::text[]) w(device, kind)
  ON CONFLICT (kind, device, reporter) DO UPDATE SET until = excluded.until RETURNING kind, device)
DELETE FROM gate_held h WHERE h.until < clock_timestamp()
  OR (h.reporter = $3 AND NOT EXISTS (SELECT 1 FROM unnest($1::text[], $2::text[]) w(device, kind) WHERE w.device = h.device AND w.kind = h.kind))

-- name: gate_held_lock
SELECT pg_advisory_xact_lock(7020)

-- name: gate_held_all
SELECT DISTINCT kind, device FROM gate_held WHERE until > clock_timestamp() ORDER BY kind, device
