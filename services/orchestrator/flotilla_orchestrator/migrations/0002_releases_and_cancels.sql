-- Releases that runs are pinned to, for processes whose files are newer or older; what a prompt cancel needs to find.

CREATE TABLE releases (
  agent      text,
  hash       text,
  content    text NOT NULL,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (agent, hash)
);
COMMENT ON TABLE releases IS 'append-only: a release never changes';
-- Agents are the platform's, not a tenant's: only connections that see every tenant read their prompts.
ALTER TABLE releases ENABLE ROW LEVEL SECURITY;
CREATE POLICY platform ON releases USING (current_setting('flotilla.tenant_id', true) = '*');

-- When the present owner took the lease: whoever took it for a cancel gets time to end the run.
ALTER TABLE leases ADD COLUMN claimed_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX runs_to_cancel ON runs (cancel_at) WHERE cancel_at IS NOT NULL AND status <= 2;

-- The wall stands for the tables' owner, too.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['threads', 'runs', 'leases', 'events', 'checkpoints', 'checkpoint_writes', 'usage', 'outbox',
      'releases'] LOOP
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
  END LOOP;
END $$;
