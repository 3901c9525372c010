-- What the bridge must not forget of gates when it is started anew.

-- name: gate_memory_all
SELECT m.device, m.school, m.highest, m.holes, m.away_since FROM gate_memory m JOIN devices d ON d.id = m.device AND d.state = 'active'

-- name: gate_memory_numbers
INSERT INTO gate_memory (device, school, highest, holes)
SELECT w.device, w.school, w.highest, w.holes FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[]) w(device, school, highest, holes)
JOIN devices d ON d.id = w.device ORDER BY w.device
ON CONFLICT (device) DO UPDATE SET school = excluded.school, highest = excluded.highest, holes = excluded.holes, noted_at = clock_timestamp()

-- name: gate_memory_away
INSERT INTO gate_memory (device, away_since)
SELECT w.device, w.away_since FROM unnest($1::text[], $2::timestamptz[]) w(device, away_since) JOIN devices d ON d.id = w.device ORDER BY w.device
ON CONFLICT (device) DO UPDATE SET away_since = excluded.away_since, noted_at = clock_timestamp()

-- name: gate_memory_forget
DELETE FROM gate_memory m USING devices d WHERE d.id = m.device AND d.state <> 'active'

-- name: gate_hole_add
-- Of a gate whose list is read: any other could not be asked. The last of too many grows, to as many numbers as one may have at most: what
-- lies between is known again.
INSERT INTO gate_memory (device, holes) SELECT l.device, jsonb_build_array(jsonb_build_array($2::bigint, $3::bigint, 0)) FROM gate_lists l WHERE l.device = $1
ON CONFLICT (device) DO UPDATE SET noted_at = clock_timestamp(), holes = CASE
  WHEN EXISTS (SELECT FROM jsonb_array_elements(gate_memory.holes) h WHERE h->0 = to_jsonb($2::bigint) AND h->1 = to_jsonb($3::bigint)) THEN gate_memory.holes
  WHEN jsonb_array_length(gate_memory.holes) >= $4 AND $3 - (gate_memory.holes->-1->>0)::bigint >= $5::bigint THEN gate_memory.holes
  WHEN jsonb_array_length(gate_memory.holes) >= $4 THEN jsonb_set(gate_memory.holes, '{-1,1}', to_jsonb(greatest((gate_memory.holes->-1->>1)::bigint, $3)))
  ELSE gate_memory.holes || excluded.holes END

-- name: gate_holes_of
SELECT holes FROM gate_memory WHERE device = $1

-- name: gate_hole_set
-- `left`: what stands in the hole's place from now on; a hole that has grown meanwhile stands as it is.
UPDATE gate_memory SET noted_at = clock_timestamp(), holes =
  (SELECT coalesce(jsonb_agg(h ORDER BY i), '[]') FROM jsonb_array_elements(holes) WITH ORDINALITY u(h, i) WHERE h <> $2::jsonb) || $3::jsonb
WHERE device = $1 AND EXISTS (SELECT FROM jsonb_array_elements(holes) h WHERE h = $2::jsonb)
