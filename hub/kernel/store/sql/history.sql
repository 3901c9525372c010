-- name: history_write
-- What came of a few calls, in one round trip; of many it goes by COPY. A call's deliveries stand as an array's text: arrays of
-- arrays would have to be of one length.
WITH c AS (
  INSERT INTO calls (id, class, connector, operation, deliveries, idempotent, key, method, path, headers, content_type, meta, digest, body, mapping)
  SELECT id, class, connector, operation, deliveries::bigint[], idempotent, key, method, path, headers, content_type, meta, digest, body, mapping
  FROM unnest($1::bigint[], $2::smallint[], $3::smallint[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::text[], $9::text[],
    $10::jsonb[], $11::text[], $12::jsonb[], $13::bytea[], $14::bytea[], $15::text[])
    w(id, class, connector, operation, deliveries, idempotent, key, method, path, headers, content_type, meta, digest, body, mapping)),
r AS (
  INSERT INTO replies (id, class, call, status, headers, digest, body, error, elapsed_ms)
  SELECT * FROM unnest($16::bigint[], $17::smallint[], $18::bigint[], $19::int[], $20::jsonb[], $21::bytea[], $22::bytea[], $23::text[],
    $24::real[])),
a AS (
  INSERT INTO attempts (id, class, delivery, call, number, kind, outcome, reason, late, worker, elapsed_ms)
  SELECT * FROM unnest($25::bigint[], $26::smallint[], $27::bigint[], $28::bigint[], $29::smallint[], $30::text[], $31::text[],
    $32::text[], $33::boolean[], $34::text[], $35::real[]))
INSERT INTO journal (id, class, actor, kind, connector, subject, ids, data, leaves) SELECT * FROM unnest($36::intake_line[])
