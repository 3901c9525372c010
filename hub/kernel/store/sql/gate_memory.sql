-- What the bridge must not forget of gates when it is started anew.

-- name: gate_memory_all
SELECT m.device, m.school, m.highest, m.holes, m.away_since, m.beyond FROM gate_memory m JOIN devices d ON d.id = m.device AND d.state = 'active'

-- name: gate_memory_numbers
-- `beyond` only grows.
INSERT INTO gate_memory (device, school, highest, holes, beyond, beyond_at)
SELECT w.device, w.school, w.highest, w.holes, w.beyond, CASE WHEN w.beyond > 0 THEN clock_timestamp() END
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[], $5::bigint[]) w(device, school, highest, holes, beyond)
JOIN devices d ON d.id = w.device ORDER BY w.device
ON CONFLICT (device) DO UPDATE SET school = excluded.school, highest = excluded.highest, holes = excluded.holes, noted_at = clock_timestamp(),
  beyond = greatest(gate_memory.beyond, excluded.beyond),
  beyond_at = CASE WHEN excluded.beyond > gate_memory.beyond THEN excluded.beyond_at ELSE gate_memory.beyond_at END

-- name: gate_memory_away
INSERT INTO gate_memory (device, away_since)
SELECT w.device, w.away_since FROM unnest($1::text[], $2::timestamptz[]) w(device, away_since) JOIN devices d ON d.id = w.device ORDER BY w.device
ON CONFLICT (device) DO UPDATE SET away_since = excluded.away_since, noted_at = clock_timestamp()

-- name: gate_memory_forget
DELETE FROM gate_memory m USING devices d WHERE d.id = m.device AND d.state <> 'active'

-- name: gate_hole_room
-- Of a gate whose list is read: any other could not be asked.
INSERT INTO gate_memory (device) SELECT device FROM gate_lists WHERE device = $1 ON CONFLICT DO NOTHING

-- name: gate_hole_add
-- The last of too many ($4) grows, to as many numbers as one may have at most ($5): what lies between is known again. Of all holes
-- together there are no more numbers than $6: what goes beyond is counted, to be said.
WITH held AS (
  SELECT device, holes, jsonb_array_length(holes) >= $4 AS many, (holes->-1->>0)::bigint AS first, (holes->-1->>1)::bigint AS last,
    EXISTS (SELECT FROM jsonb_array_elements(holes) h WHERE h->0 = to_jsonb($2::bigint) AND h->1 = to_jsonb($3::bigint)) AS known,
    (SELECT coalesce(sum((h->>1)::bigint - (h->>0)::bigint + 1), 0) FROM jsonb_array_elements(holes) h) AS total
  FROM gate_memory WHERE device = $1 AND EXISTS (SELECT FROM gate_lists l WHERE l.device = $1) FOR UPDATE),
judged AS (
  SELECT *, NOT known AND (total + CASE WHEN many THEN greatest($3::bigint - last, 0) ELSE $3::bigint - $2::bigint + 1 END > $6::bigint
    OR (many AND $3::bigint - first >= $5::bigint)) AS excess FROM held)
UPDATE gate_memory m SET noted_at = clock_timestamp(), holes = CASE
    WHEN j.known OR j.excess THEN j.holes
    WHEN j.many THEN jsonb_set(j.holes, '{-1,1}', to_jsonb(greatest(j.last, $3::bigint)))
    ELSE j.holes || jsonb_build_array(jsonb_build_array($2::bigint, $3::bigint, 0)) END,
  beyond = m.beyond + CASE WHEN j.excess THEN $3::bigint - $2::bigint + 1 ELSE 0 END,
  beyond_at = CASE WHEN j.excess THEN clock_timestamp() ELSE m.beyond_at END
FROM judged j WHERE m.device = j.device

-- name: gate_numbers_beyond
-- Gates that lately skipped more numbers than are asked for.
SELECT m.device, m.beyond FROM gate_memory m JOIN devices d ON d.id = m.device AND d.state = 'active'
WHERE m.beyond_at > clock_timestamp() - interval '1 day' ORDER BY m.device

-- name: gate_holes_of
SELECT holes FROM gate_memory WHERE device = $1

-- name: gate_hole_set
-- `left`: what stands in the hole's place from now on; a hole that has grown meanwhile stands as it is.
UPDATE gate_memory SET noted_at = clock_timestamp(), holes =
  (SELECT coalesce(jsonb_agg(h ORDER BY i), '[]') FROM jsonb_array_elements(holes) WITH ORDINALITY u(h, i) WHERE h <> $2::jsonb) || $3::jsonb
WHERE device = $1 AND EXISTS (SELECT FROM jsonb_array_elements(holes) h WHERE h = $2::jsonb)
