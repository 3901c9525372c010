-- What gates number by themselves, as all gateways together saw it.

-- name: gate_numbers_note
-- Numbers that came (`anew`: the gate began to count again), and the last stamp. What lies below the first number that was ever told opens
-- no hole: nobody knows what was before.
WITH held AS (
  SELECT s.device, w.stamp, w.anew, s.split_at AS split, s.split_below AS below,
    CASE WHEN w.numbers IS NULL THEN s.numbers
      WHEN w.anew OR s.numbers IS NULL OR isempty(s.numbers) THEN w.numbers::int8multirange
      ELSE s.numbers + w.numbers::int8multirange * int8multirange(int8range(lower(s.numbers), NULL)) END AS numbers
  FROM unnest($1::text[], $2::text[], $3::boolean[], $4::text[]) w(device, numbers, anew, stamp)
  JOIN device_state s ON s.device = w.device ORDER BY s.device FOR UPDATE OF s),
judged AS (SELECT *, numbers IS NULL OR numbers = int8multirange(range_merge(numbers)) AS whole FROM held)
UPDATE device_state s SET stamp = coalesce(j.stamp, s.stamp), numbers = j.numbers,
  split_at = CASE WHEN j.whole THEN NULL WHEN j.split IS NULL OR j.anew THEN clock_timestamp() ELSE j.split END,
  split_below = CASE WHEN j.whole THEN NULL WHEN j.split IS NULL OR j.anew THEN upper(j.numbers) - 1 ELSE j.below END
FROM judged j WHERE s.device = j.device

-- name: gate_numbers_missing
-- Holes that stood open for so long ($1), each told to one who asks, and closed by that.
WITH due AS (
  SELECT device, numbers, split_below FROM device_state WHERE split_at < clock_timestamp() - $1::float8 * interval '1 second'
  ORDER BY device LIMIT $2 FOR UPDATE SKIP LOCKED),
found AS (
  SELECT device, numbers, (int8multirange(range_merge(numbers)) - numbers) * int8multirange(int8range(NULL, split_below)) AS missing FROM due),
closed AS (SELECT *, numbers + missing AS all_told, numbers + missing = int8multirange(range_merge(numbers + missing)) AS whole FROM found),
told AS (
  UPDATE device_state s SET numbers = c.all_told, split_at = CASE WHEN NOT c.whole THEN clock_timestamp() END,
    split_below = CASE WHEN NOT c.whole THEN upper(c.all_told) - 1 END
  FROM closed c WHERE s.device = c.device)
SELECT c.device, d.family, lower(m.hole) AS first, upper(m.hole) - 1 AS last
FROM closed c JOIN devices d ON d.id = c.device CROSS JOIN LATERAL unnest(c.missing) m(hole) ORDER BY c.device, 3
