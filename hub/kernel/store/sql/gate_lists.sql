-- name: gate_list_put
INSERT INTO gate_lists (device, settings, secrets, done_to) VALUES ($1, $2, $3, $4)
ON CONFLICT (device) DO UPDATE SET settings = excluded.settings, secrets = coalesce(excluded.secrets, gate_lists.secrets),
  due_at = clock_timestamp(), fault = NULL, faults = 0, told_at = NULL

-- name: gate_list_drop
-- Holes it will never be asked about are nothing it owes.
WITH holes AS (UPDATE gate_memory SET holes = '[]' WHERE device = $1 AND highest IS NULL)
DELETE FROM gate_lists WHERE device = $1 RETURNING device

-- name: gate_list_claim
-- Whose time has come, longest overdue first; a run whose owner is gone goes on at the page that was next.
UPDATE gate_lists g SET owner = $1, until = clock_timestamp() + $2::float8 * interval '1 second',
  run = CASE WHEN g.span_end IS NULL THEN g.run + 1 ELSE g.run END
FROM (SELECT l.device FROM gate_lists l JOIN devices d ON d.id = l.device AND d.state = 'active'
  WHERE l.due_at <= clock_timestamp() AND (l.until IS NULL OR l.until < clock_timestamp())
  ORDER BY l.due_at LIMIT $3 FOR UPDATE OF l SKIP LOCKED) w
WHERE g.device = w.device
RETURNING g.device, g.settings, g.secrets, g.done_to, g.span_start, g.span_end, g.place, g.page, g.run, g.faults, clock_timestamp() AS now,
  g.finished_at IS NOT NULL AS finished,
  extract(epoch FROM clock_timestamp() - g.told_at)::float8 AS told_s

-- name: gate_list_begin
-- `done_to` ($6) goes back where gates are new to the list: a run that has to begin anew begins there.
UPDATE gate_lists SET span_start = $4, span_end = $5, place = NULL, page = 0, done_to = least(done_to, $6)
WHERE device = $1 AND owner = $2 AND run = $3 AND span_end IS NULL RETURNING device

-- name: gate_list_held
SELECT device FROM gate_lists WHERE device = $1 AND owner = $2 AND run = $3 AND page = $4 AND until > clock_timestamp() FOR UPDATE

-- name: gate_list_spoken
-- Of each list the gates whose newest line about it says that it speaks for them.
SELECT o.list, o.device, o.since FROM (
  SELECT DISTINCT ON (h.data->>'by', h.device) h.data->>'by' AS list, h.device, h.kind, (h.data->>'since')::timestamptz AS since
  FROM gate_history h JOIN devices d ON d.id = h.device
  WHERE h.kind IN ('listed', 'unlisted') AND h.data->>'by' = ANY ($1::text[])
    AND d.family IN (SELECT a.family FROM devices a WHERE a.id = ANY ($1))
  ORDER BY h.data->>'by', h.device, h.id DESC) o
WHERE o.kind = 'listed' ORDER BY o.list, o.device

-- name: gate_lists_resting
SELECT l.device FROM gate_lists l JOIN devices d ON d.id = l.device AND d.state = 'active' AND d.signing IS NOT NULL
WHERE d.family = ANY ($1::text[]) AND l.finished_at IS NOT NULL AND l.span_end IS NULL AND l.fault IS NULL AND l.due_at > clock_timestamp()
ORDER BY l.device

-- name: gate_list_page
-- A fault of the kind `circle` is one of the whole list: a page says nothing against it, for the pages before it could be read the last
-- time too. It stands until a run has come to its end.
UPDATE gate_lists SET page = page + 1, place = $3, until = clock_timestamp() + $4::float8 * interval '1 second',
  listed = listed + $5, missed = missed + $6, fault = CASE WHEN fault->>'kind' = 'circle' THEN fault END, faults = 0
WHERE device = $1 AND owner = $2

-- name: gate_list_end
UPDATE gate_lists SET page = 0, place = NULL, done_to = greatest(done_to, span_end), span_start = NULL, span_end = NULL,
  until = NULL, owner = NULL, finished_at = clock_timestamp(), listed = listed + $4, missed = missed + $5, fault = NULL, faults = 0,
  due_at = greatest(due_at, clock_timestamp() + $3::float8 * interval '1 second')
WHERE device = $1 AND owner = $2

-- name: gate_list_fault
-- `again`: the run begins anew from where everything was stored; else it goes on at its page. A passing fault does not take the place
-- of one that stands until a run has come to its end.
UPDATE gate_lists SET fault = CASE WHEN fault->>'kind' = 'circle' AND NOT coalesce(($3::jsonb->>'loud')::bool, false) THEN fault ELSE $3 END,
  faults = faults + 1, until = NULL, owner = NULL, due_at = clock_timestamp() + $4::float8 * interval '1 second',
  place = CASE WHEN $5 THEN NULL ELSE place END, page = CASE WHEN $5 THEN 0 ELSE page END,
  span_start = CASE WHEN $5 THEN NULL ELSE span_start END, span_end = CASE WHEN $5 THEN NULL ELSE span_end END
WHERE device = $1 AND owner = $2

-- name: gate_list_let_go
UPDATE gate_lists SET until = NULL, owner = NULL WHERE device = $1 AND owner = $2

-- name: gate_list_told
-- Only while what it was told is what opens its address: waits for a rotation that is under way.
WITH opens AS (SELECT id FROM devices WHERE id = $1 AND secret = $2 FOR SHARE)
UPDATE gate_lists g SET told_at = clock_timestamp() FROM opens o WHERE g.device = o.id RETURNING g.device

-- name: gate_list_tell
-- Due now, to be told where to push: a run under way goes on at its page, with whoever takes it up.
UPDATE gate_lists SET told_at = NULL, due_at = least(due_at, clock_timestamp()), owner = NULL, until = NULL, run = run + 1 WHERE device = $1

-- name: gate_list_found
-- What came by number, beside any run.
UPDATE gate_lists SET listed = listed + $2, missed = missed + $3 WHERE device = $1

-- name: gate_list_hurry
-- A hole was seen: ask soon, though not at every hole of a flood, and not before a fault's pause is over.
UPDATE gate_lists SET due_at = least(due_at, greatest(clock_timestamp(), finished_at + $2::float8 * interval '1 second'))
WHERE device = $1 AND fault IS NULL

-- name: gate_lists_all
SELECT device, settings, done_to, span_end, page, due_at, told_at, finished_at, fault, listed, missed FROM gate_lists ORDER BY device

-- name: gate_command_add
-- An open one that covers the span; else one that is near grows, as a new question, be it one that waits or one that was given up
-- because nobody answered; else a new one. One that was given up grows no further back than thirty days. One in another clock's times
-- (`own clock`) is another question. One that grows after it was sent gets another number: an answer to the span it had before, or the
-- refusal of a second one while the gate still sends the first, must not stand for the whole.
WITH covered AS (
  SELECT id FROM gate_commands WHERE device = $1 AND reason <> 'own clock' AND state IN ('waiting', 'sent')
    AND span_start <= $2 AND span_end >= $3 ORDER BY id LIMIT 1),
near AS (
  SELECT id, (sent_at IS NOT NULL OR tries > 0) AND (span_start > $2 OR span_end < $3) AS other
  FROM gate_commands WHERE NOT EXISTS (SELECT 1 FROM covered) AND device = $1 AND reason <> 'own clock'
    AND (state = 'waiting' OR (state = 'failed' AND code = 'silent' AND span_start > $2::timestamptz - interval '30 days'))
    AND span_start <= $3::timestamptz + interval '1 day' AND span_end >= $2::timestamptz - interval '1 day'
  ORDER BY id LIMIT 1 FOR UPDATE),
renamed AS (
  UPDATE gate_commands g SET id = DEFAULT, span_start = least(g.span_start, $2), span_end = greatest(g.span_end, $3), tries = 0,
    due_at = CASE WHEN g.state = 'failed' THEN clock_timestamp() ELSE g.due_at END, state = 'waiting', code = NULL, ended_at = NULL, sent_at = NULL
  FROM near n WHERE g.id = n.id AND n.other RETURNING g.id),
grown AS (
  UPDATE gate_commands g SET span_start = least(g.span_start, $2), span_end = greatest(g.span_end, $3), tries = 0,
    due_at = CASE WHEN g.state = 'failed' THEN clock_timestamp() ELSE g.due_at END, state = 'waiting', code = NULL, ended_at = NULL
  FROM near n WHERE g.id = n.id AND NOT n.other RETURNING g.id),
made AS (
  INSERT INTO gate_commands (device, span_start, span_end, reason)
  SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM covered) AND NOT EXISTS (SELECT 1 FROM near) RETURNING id)
SELECT id FROM covered UNION ALL SELECT id FROM grown UNION ALL SELECT id FROM renamed UNION ALL SELECT id FROM made

-- name: gate_command_follow
-- A question in the times of a clock that was lost. One that is open and asks the same, to about a minute, is enough.
INSERT INTO gate_commands (device, span_start, span_end, reason)
SELECT $1, $2::timestamptz, $3::timestamptz, 'own clock' WHERE NOT EXISTS (
  SELECT 1 FROM gate_commands WHERE device = $1 AND reason = 'own clock' AND state IN ('waiting', 'sent')
    AND span_start <= $2::timestamptz + interval '1 minute' AND span_end >= $3::timestamptz - interval '1 minute')

-- name: gate_command_revive
-- A gate that was away is back: what nobody answered meanwhile is asked again.
UPDATE gate_commands SET state = 'waiting', tries = 0, code = NULL, ended_at = NULL, due_at = clock_timestamp()
WHERE device = $1 AND state = 'failed' AND code = 'silent'

-- name: gate_command_take
-- The next of every gate in use that has none on the way. One that was sent and never answered is sent again, each time after
-- twice the wait, and has failed after so many tries. `state` is looked at again when the row is held: it may have ended meanwhile.
WITH stale AS (
  UPDATE gate_commands SET state = CASE WHEN tries >= $3 THEN 'failed' ELSE 'waiting' END, due_at = clock_timestamp(),
    ended_at = CASE WHEN tries >= $3 THEN clock_timestamp() END, code = CASE WHEN tries >= $3 THEN 'silent' ELSE code END
  WHERE state = 'sent' AND sent_at < clock_timestamp() - $2::float8 * 2 ^ greatest(tries - 1, 0) * interval '1 second' AND device = ANY ($1::text[])
  RETURNING id),
next AS (
  SELECT DISTINCT ON (c.device) c.id FROM gate_commands c JOIN devices d ON d.id = c.device AND d.state = 'active'
  WHERE c.device = ANY ($1::text[]) AND c.state = 'waiting' AND c.due_at <= clock_timestamp()
    AND NOT EXISTS (SELECT 1 FROM gate_commands o WHERE o.device = c.device AND o.state = 'sent')
  ORDER BY c.device, c.id)
UPDATE gate_commands g SET state = 'sent', sent_at = clock_timestamp(), tries = tries + 1
FROM (SELECT id FROM gate_commands WHERE id IN (SELECT id FROM next) AND state = 'waiting' ORDER BY id FOR UPDATE SKIP LOCKED) n WHERE g.id = n.id
RETURNING g.id, g.device, g.span_start, g.span_end, g.tries, g.reason = 'own clock' AS own_clock

-- name: gate_command_not_sent
-- What was taken and could not be handed over: no try was made of it.
UPDATE gate_commands SET state = 'waiting', tries = greatest(tries - 1, 0),
  due_at = clock_timestamp() + $2::float8 * interval '1 second'
WHERE id = ANY ($1::bigint[]) AND state = 'sent'

-- name: gate_command_end
UPDATE gate_commands SET state = CASE WHEN $3 THEN 'done' WHEN $4::float8 IS NULL THEN 'failed' ELSE 'waiting' END, code = $2,
  due_at = clock_timestamp() + coalesce($4::float8, 0) * interval '1 second', ended_at = CASE WHEN $3 OR $4::float8 IS NULL THEN clock_timestamp() END
WHERE id = $1 AND state = 'sent' RETURNING device

-- name: gate_command_forget
-- What ended so long ago, and what a gate that is no longer in use will never answer.
DELETE FROM gate_commands c WHERE ended_at < clock_timestamp() - $1::int * interval '1 day'
  OR (ended_at IS NULL AND EXISTS (SELECT 1 FROM devices d WHERE d.id = c.device AND d.state <> 'active'))

-- name: gate_command_one
SELECT id, device, span_start, span_end, reason, state, tries, sent_at, ended_at, code FROM gate_commands WHERE id = $1

-- name: gate_command_waiting
SELECT DISTINCT c.device FROM gate_commands c JOIN devices d ON d.id = c.device AND d.state = 'active'
WHERE (c.state = 'waiting' AND c.due_at <= clock_timestamp())
  OR (c.state = 'sent' AND c.sent_at < clock_timestamp() - $1::float8 * 2 ^ greatest(c.tries - 1, 0) * interval '1 second')

-- name: gate_list_back
UPDATE gate_lists SET done_to = least(done_to, $2), due_at = clock_timestamp(), span_start = NULL, span_end = NULL, place = NULL, page = 0,
  run = run + 1, owner = NULL, until = NULL WHERE device = $1 RETURNING device
