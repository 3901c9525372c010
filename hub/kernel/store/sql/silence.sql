-- name: noise_add
-- `at` null: now. Nearly always one half hour of a gate; several of one day are brought together first, as a row is written once.
WITH told AS (
  SELECT w.device, coalesce(w.at, clock_timestamp()) AT TIME ZONE 'Asia/Ho_Chi_Minh' AS local, w.n
  FROM unnest($1::text[], $2::timestamptz[], $3::int[]) w(device, at, n) JOIN devices d ON d.id = w.device OFFSET 0),
cells AS (
  SELECT device, local::date AS day, (extract(hour FROM local) * 2 + floor(extract(minute FROM local) / 30))::int + 1 AS slot, sum(n)::int AS n
  FROM told GROUP BY 1, 2, 3)
INSERT INTO gate_noise (device, day, slots)
SELECT device, day, CASE WHEN count(*) = 1 THEN array_fill(0, ARRAY[min(slot) - 1]) || min(n) || array_fill(0, ARRAY[48 - min(slot)])
  ELSE (SELECT array_agg(coalesce(u.n, 0) ORDER BY i) FROM generate_series(1, 48) i LEFT JOIN unnest(array_agg(slot), array_agg(n)) u(slot, n) ON u.slot = i) END
FROM cells GROUP BY device, day ORDER BY device, day
ON CONFLICT (device, day) DO UPDATE SET slots = (SELECT array_agg(a + b ORDER BY i) FROM unnest(gate_noise.slots, excluded.slots) WITH ORDINALITY u(a, b, i))

-- name: noise_forget
DELETE FROM gate_noise WHERE day < $1

-- name: habits_learn
-- The median of each half hour over the weekday's last open days on which the gate was heard at all. A day of trouble or of
-- festivities moves a median little; a gate in repair for weeks keeps what was usual before.
WITH heard AS (
  SELECT n.device, extract(isodow FROM n.day)::smallint AS weekday, n.day, n.slots,
    row_number() OVER (PARTITION BY n.device, extract(isodow FROM n.day) ORDER BY n.day DESC) AS place
  FROM gate_noise n JOIN devices d ON d.id = n.device
  WHERE n.day = ANY ($1::date[]) AND EXISTS (SELECT 1 FROM unnest(n.slots) s WHERE s > 0)
    AND NOT EXISTS (SELECT 1 FROM days_off o WHERE o.school IN ('', d.school) AND n.day BETWEEN o.since AND o.until)),
usual AS (
  SELECT h.device, h.weekday, i, percentile_cont(0.5) WITHIN GROUP (ORDER BY s) AS m, count(*)::int AS days
  FROM heard h CROSS JOIN LATERAL unnest(h.slots) WITH ORDINALITY u(s, i)
  WHERE h.place <= $2 GROUP BY h.device, h.weekday, i)
INSERT INTO gate_habits (device, weekday, slots, days)
SELECT device, weekday, array_agg(m::real ORDER BY i), min(days) FROM usual GROUP BY device, weekday
ON CONFLICT (device, weekday) DO UPDATE SET slots = excluded.slots, days = excluded.days

-- name: habits_all
SELECT device, weekday, slots FROM gate_habits WHERE days >= $1

-- name: timetables_all
SELECT school, weekday, opens, closes FROM school_sessions ORDER BY school, weekday, opens

-- name: timetable_of
SELECT weekday, opens, closes FROM school_sessions WHERE school = $1 ORDER BY weekday, opens

-- name: timetable_clear
DELETE FROM school_sessions WHERE school = $1

-- name: timetable_add
INSERT INTO school_sessions (school, weekday, opens, closes) SELECT $1, w, $3, $4 FROM unnest($2::smallint[]) w

-- name: days_off_all
SELECT id, school, since, until, title, actor FROM days_off WHERE until >= $1 AND ($2::text[] IS NULL OR school = '' OR school = ANY ($2)) ORDER BY since, school

-- name: day_off_add
INSERT INTO days_off (school, since, until, title, actor) VALUES ($1, $2, $3, $4, $5) RETURNING id

-- name: day_off_remove
DELETE FROM days_off WHERE id = $1 AND ($2::text[] IS NULL OR school = ANY ($2)) RETURNING school, since, until, title

-- name: gates_heard
-- `listed_to`: of a gate that is asked, up to when everything it noted is stored.
SELECT d.id, d.family, d.title, d.school, coalesce(s.last_event_at, d.registered_at) AS last_at, s.last_event_at IS NOT NULL AS heard,
  l.done_to AS listed_to
FROM devices d LEFT JOIN device_state s ON s.device = d.id LEFT JOIN gate_lists l ON l.device = d.id WHERE d.state = 'active'
