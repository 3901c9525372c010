-- What each counterparty was last given of each entity: 16 bytes over what travelled, so that only differences go again and
-- that what leans on an entity knows whether it is there. Empty content: given, but what exactly is not known.
CREATE TABLE given (
  connector smallint NOT NULL,
  type      text NOT NULL,
  key       text NOT NULL,
  content   bytea NOT NULL,
  version   int NOT NULL,
  cancelled boolean NOT NULL,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (connector, type, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- `waits_for`: the entity a waiting delivery needs to be delivered first, as `<type>:<leading key fields>/`.
-- `anyway`: a person had it sent without.
ALTER TABLE deliveries ADD COLUMN waits_for text, ADD COLUMN anyway boolean NOT NULL DEFAULT false;
CREATE INDEX deliveries_waits ON deliveries (connector, waits_for) WHERE waits_for IS NOT NULL;

-- Lasting codes of learners first met under a temporary one. `anchor` is the key their records keep: <temporary>@<school>.
CREATE TABLE codes_given (
  anchor text PRIMARY KEY,
  code   text NOT NULL UNIQUE,
  at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Which of these codes and anchors belong together. The locks come first and the answer sees what was committed before they
-- were granted: whoever gives a code holds them too.
CREATE FUNCTION codes_look(locks bigint[], codes text[], anchors text[]) RETURNS SETOF codes_given LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(k) FROM unnest(locks) k;
  RETURN QUERY SELECT * FROM codes_given g WHERE g.code = ANY (codes) UNION SELECT * FROM codes_given g WHERE g.anchor = ANY (anchors);
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON given TO hub_app;
GRANT SELECT, INSERT ON codes_given TO hub_app;
