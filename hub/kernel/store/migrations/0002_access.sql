-- People, machine clients and devices: who may do what, and for which schools.

CREATE TABLE users (
  name          text PRIMARY KEY,
  title         text NOT NULL,
  role          text NOT NULL CHECK (role IN ('admin', 'operator', 'auditor')),
  password_hash text NOT NULL,
  must_change   boolean NOT NULL DEFAULT false,
  state         text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'blocked')),
  scope_kind    text NOT NULL DEFAULT 'department' CHECK (scope_kind IN ('department', 'ward', 'school')),
  scope_code    text,
  failed        int NOT NULL DEFAULT 0,
  blocked_until timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE sessions (
  digest     bytea PRIMARY KEY,
  user_name  text NOT NULL REFERENCES users ON DELETE CASCADE,
  csrf       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now(),
  until      timestamptz NOT NULL
);

CREATE TABLE clients (
  source      int PRIMARY KEY REFERENCES sources,
  id          text NOT NULL UNIQUE,
  title       text NOT NULL,
  secret_hash bytea NOT NULL,
  key_hash    bytea UNIQUE,
  scope_kind  text NOT NULL CHECK (scope_kind IN ('department', 'ward', 'school')),
  scope_code  text,
  rights      text[] NOT NULL,
  state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'blocked')),
  created_at  timestamptz NOT NULL DEFAULT now(),
  CHECK ((scope_kind = 'department') = (scope_code IS NULL))
);

CREATE TABLE devices (
  source       int PRIMARY KEY REFERENCES sources,
  id           text NOT NULL UNIQUE,
  family       text NOT NULL,
  profile      text NOT NULL,
  title        text NOT NULL,
  school       text NOT NULL REFERENCES schools,
  entrance     text NOT NULL,
  direction    text NOT NULL CHECK (direction IN ('in', 'out', 'unknown')),
  zone         text NOT NULL DEFAULT 'Asia/Ho_Chi_Minh',
  secret       bytea NOT NULL,
  state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
  registered_at timestamptz NOT NULL DEFAULT now()
);
-- What is seen of a device: may be lost and made again, so apart from the registry.
CREATE TABLE device_state (
  device        text PRIMARY KEY REFERENCES devices (id),
  seen_at       timestamptz NOT NULL,
  online        boolean,
  offset_s      double precision,
  events        bigint NOT NULL DEFAULT 0,
  quarantined   bigint NOT NULL DEFAULT 0,
  images_removed bigint NOT NULL DEFAULT 0,
  last_event_at timestamptz,
  detail        jsonb
) WITH (fillfactor = 50);

GRANT USAGE ON SCHEMA hub TO hub_app;
GRANT SELECT ON ALL TABLES IN SCHEMA hub TO hub_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA hub TO hub_app;
GRANT INSERT ON messages, message_results, rejects, records, deliveries_closed, calls, replies, attempts, lookups, journal,
  seals, approved_codes, connector_revisions TO hub_app;
GRANT INSERT, UPDATE, DELETE ON inbox, deliveries, streams, users, sessions, intake_keys TO hub_app;
GRANT INSERT, UPDATE ON sources, schools, connectors, quotas, recoveries, uploads, tasks, clients, devices, device_state TO hub_app;
-- Bodies expire by law while their metadata and hashes stay: the one update history allows.
GRANT UPDATE (body) ON messages, records, calls, replies TO hub_app;
