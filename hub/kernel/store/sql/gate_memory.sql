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
