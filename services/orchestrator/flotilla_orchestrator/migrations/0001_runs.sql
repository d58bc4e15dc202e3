-- The durable run path: threads, runs, leases, events, checkpoints, usage, outbox.
-- Numbers of status, error_class, finish_reason and kind are those of flotilla_orchestrator.model.

CREATE TABLE threads (
  thread_id    uuid PRIMARY KEY,
  tenant_id    uuid NOT NULL,
  user_id      uuid NOT NULL,
  metadata     jsonb NOT NULL DEFAULT '{}',
  is_ephemeral boolean NOT NULL DEFAULT false,
  ttl          interval,
  created_at   timestamptz NOT NULL DEFAULT now(),
  updated_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz
) WITH (fillfactor = 80);
CREATE INDEX threads_of_user ON threads (tenant_id, user_id, updated_at DESC, thread_id) WHERE NOT is_ephemeral;
CREATE INDEX threads_expiring ON threads (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE runs (
  run_id        uuid PRIMARY KEY,
  tenant_id     uuid NOT NULL,
  thread_id     uuid NOT NULL,
  user_id       uuid NOT NULL,
  remembers     boolean NOT NULL,
  agent         text NOT NULL,
  release       text NOT NULL,
  status        smallint NOT NULL DEFAULT 1,
  epoch         int NOT NULL DEFAULT 1,
  attempt       smallint NOT NULL DEFAULT 1,
  input         bytea NOT NULL,
  metadata      jsonb NOT NULL DEFAULT '{}',
  wire          text NOT NULL,
  idem_key      text,
  body_hash     bytea NOT NULL,
  traceparent   text,
  cancel_at     timestamptz,
  deadline_at   timestamptz NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  finished_at   timestamptz,
  finish_reason smallint,
  answer        bytea,
  error_class   smallint,
  error_reason  text,
  error_message text,
  events_gone   boolean NOT NULL DEFAULT false
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX runs_idempotency ON runs (tenant_id, wire, idem_key) WHERE idem_key IS NOT NULL;
CREATE UNIQUE INDEX runs_one_running ON runs (thread_id) WHERE status = 1;
CREATE INDEX runs_of_thread ON runs (thread_id, run_id);
CREATE INDEX runs_queued ON runs (created_at) WHERE status = 0;
CREATE INDEX runs_with_events ON runs (finished_at) WHERE finished_at IS NOT NULL AND NOT events_gone;
CREATE INDEX runs_with_key ON runs (created_at) WHERE idem_key IS NOT NULL;

-- A row lives only while the run is owned. No index on expires_at: it would cost every heartbeat its HOT update.
CREATE TABLE leases (
  run_id      uuid PRIMARY KEY,
  tenant_id   uuid NOT NULL,
  owner       uuid NOT NULL,
  epoch       int NOT NULL,
  expires_at  timestamptz NOT NULL,
  handed_back boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

CREATE TABLE events (
  run_id    uuid,
  seq       int,
  epoch     int NOT NULL,
  tenant_id uuid NOT NULL,
  payload   bytea NOT NULL,
  PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE checkpoints (
  tenant_id     uuid NOT NULL,
  thread_id     uuid,
  ns            text,
  checkpoint_id uuid,
  parent_id     uuid,
  run_id        uuid NOT NULL,
  epoch         int NOT NULL,
  state         bytea NOT NULL,
  metadata      jsonb NOT NULL,
  next_nodes    jsonb NOT NULL DEFAULT '[]',
  PRIMARY KEY (thread_id, ns, checkpoint_id)
);
CREATE INDEX checkpoints_of_run ON checkpoints (run_id);

-- What tasks of an unfinished super-step have written already.
CREATE TABLE checkpoint_writes (
  tenant_id     uuid NOT NULL,
  thread_id     uuid,
  ns            text,
  checkpoint_id uuid,
  task_id       text,
  idx           int,
  task_path     text NOT NULL,
  channel       text NOT NULL,
  run_id        uuid NOT NULL,
  epoch         int NOT NULL,
  value         bytea NOT NULL,
  PRIMARY KEY (thread_id, ns, checkpoint_id, task_id, idx)
);

CREATE TABLE usage (
  run_id         uuid,
  model          text,
  tenant_id      uuid NOT NULL,
  input_tokens   bigint NOT NULL,
  output_tokens  bigint NOT NULL,
  cost_micro_usd bigint NOT NULL,
  at             timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run_id, model)
);

CREATE TABLE outbox (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id uuid NOT NULL,
  user_id   uuid NOT NULL,
  run_id    uuid NOT NULL,
  kind      smallint NOT NULL,
  payload   bytea NOT NULL,
  due_at    timestamptz NOT NULL DEFAULT now(),
  attempts  smallint NOT NULL DEFAULT 0,
  UNIQUE (run_id, kind)
);
CREATE INDEX outbox_due ON outbox (due_at);

-- A tenant sees its own rows and '*' sees all. '*' is what the run path comes with, so it is compared first.
DO $$
DECLARE
  name text;
  tenant constant text := 'current_setting(''flotilla.tenant_id'', true)';
BEGIN
  FOREACH name IN ARRAY ARRAY['threads', 'runs', 'leases', 'events', 'checkpoints', 'checkpoint_writes', 'usage', 'outbox'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('CREATE POLICY tenant ON %I USING (%s = ''*'' OR tenant_id::text = %s)', name, tenant, tenant);
  END LOOP;
END $$;
