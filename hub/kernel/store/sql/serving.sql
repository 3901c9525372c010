-- Connectors served by one worker at a time.

-- name: serving_take
-- $1: connectors in ascending order; $2: the worker; $3: for how long. Returns those that are this worker's from now on.
INSERT INTO connector_serving (connector, worker, until)
SELECT c, $2, clock_timestamp() + $3::float8 * interval '1 second' FROM unnest($1::smallint[]) c
ON CONFLICT (connector) DO UPDATE SET worker = excluded.worker, until = excluded.until
WHERE connector_serving.worker = excluded.worker OR connector_serving.until < clock_timestamp()
RETURNING connector

-- name: serving_leave
DELETE FROM connector_serving WHERE worker = $1
