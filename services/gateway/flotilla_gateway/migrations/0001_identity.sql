-- Who may call: tenants, users, API keys; and the log of what they did.

CREATE TABLE tenants (
  tenant_id   uuid PRIMARY KEY,
  name        text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 128),
  create_time timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
  user_id     uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  name        text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
  create_time timestamptz NOT NULL DEFAULT now(),
  UNIQUE (tenant_id, name)
);

CREATE TABLE api_keys (
  key_id              uuid PRIMARY KEY,
  tenant_id           uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
  user_id             uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name                text NOT NULL CHECK (length(name) BETWEEN 1 AND 128),
  prefix              text NOT NULL,
  key_hash            bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  scopes              text[] NOT NULL,
  requests_per_minute integer CHECK (requests_per_minute > 0),
  create_time         timestamptz NOT NULL DEFAULT now(),
  expire_time         timestamptz,
  revoke_time         timestamptz
);
CREATE INDEX api_keys_by_prefix ON api_keys (prefix);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, key_id DESC);

CREATE TABLE audit_log (
  entry_id      uuid PRIMARY KEY,
  tenant_id     uuid NOT NULL,
  user_id       uuid NOT NULL,
  credential_id uuid,
  action        text NOT NULL,
  target        text NOT NULL,
  outcome       text NOT NULL,
  reason        text NOT NULL,
  address       text NOT NULL,
  request_id    text NOT NULL,
  create_time   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant_id, entry_id DESC);

COMMENT ON TABLE audit_log IS 'append-only: who did what, when, from where and how it ended';

ALTER TABLE tenants   ENABLE ROW LEVEL SECURITY;
ALTER TABLE users     ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys  ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON tenants   USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
CREATE POLICY own_tenant ON users     USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
CREATE POLICY own_tenant ON api_keys  USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
CREATE POLICY own_tenant ON audit_log USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
