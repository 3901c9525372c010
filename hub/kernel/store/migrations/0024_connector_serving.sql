-- Connectors whose transport keeps one session with its receivers are served by one worker at a time: whose turn it is, and
-- until when unless it says so again.
CREATE TABLE connector_serving (
  connector smallint PRIMARY KEY REFERENCES connectors,
  worker    text NOT NULL,
  until     timestamptz NOT NULL
) WITH (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON connector_serving TO hub_app;
