-- What is kept about gates beside their registry: pictures where a deployment was told to keep some, and what the bridge
-- must not forget when it is started anew.

-- Gates whose pictures are kept, while the settings name a legal basis. None by default.
CREATE TABLE gate_picture_gates (
  device text PRIMARY KEY REFERENCES devices (id),
  actor  text NOT NULL,
  why    text NOT NULL,
  since  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE (why), DELETE ON gate_picture_gates TO hub_app;

-- Encrypted, and out of everything that is kept for long: an unlogged table is in no WAL, hence in no base backup, archive or
-- standby; after a crash it is empty, which is no loss. It can be left out of a logical backup by name.
CREATE UNLOGGED TABLE gate_pictures (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  device     text NOT NULL REFERENCES devices (id),
  school     text,
  message    bigint NOT NULL,
  kind       text NOT NULL,
  bytes      int NOT NULL,
  sealed     bytea STORAGE EXTERNAL NOT NULL,
  kept_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL CHECK (expires_at <= kept_at + interval '72 hours 1 minute'),
  views      int NOT NULL DEFAULT 0,
  viewed_at  timestamptz,
  UNIQUE (message)
);
CREATE INDEX gate_pictures_device ON gate_pictures (device, id);
CREATE INDEX gate_pictures_expires ON gate_pictures (expires_at);
GRANT SELECT, INSERT, UPDATE (views, viewed_at), DELETE ON gate_pictures TO hub_app;

-- What the bridge knows of a gate: the last number seen and the holes before it, and since when the gate is away.
CREATE TABLE gate_memory (
  device     text PRIMARY KEY REFERENCES devices (id),
  school     text,
  highest    bigint,
  holes      jsonb NOT NULL DEFAULT '[]',
  away_since timestamptz,
  noted_at   timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 70);
GRANT SELECT, INSERT, UPDATE, DELETE ON gate_memory TO hub_app;

-- Gates that are held back, each by whoever hears it: bridges and gateways are many, and each knows its own part only.
CREATE TABLE gate_held (
  device   text NOT NULL,
  kind     text NOT NULL,
  reporter text NOT NULL,
  until    timestamptz NOT NULL,
  PRIMARY KEY (kind, device, reporter)
) WITH (fillfactor = 70);
GRANT SELECT, INSERT, UPDATE, DELETE ON gate_held TO hub_app;
