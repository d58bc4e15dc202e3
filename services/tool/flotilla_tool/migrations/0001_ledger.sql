-- One row for each call that may not be made twice (before it: an intent) or that was made (after it: the result).
CREATE TABLE invocations (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    run_id uuid NOT NULL,
    tool text NOT NULL,
    arguments_digest bytea NOT NULL,
    outcome smallint CHECK (outcome BETWEEN 1 AND 4), -- NULL: meant, and nobody knows what became of it
    content text,
    reason text,
    duration_ms int,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, user_id, idempotency_key),
    CHECK ((outcome IS NULL) = (content IS NULL))
) WITH (fillfactor = 80);
-- What an operator looks at when a run stopped with an unknown outcome.
CREATE INDEX invocations_open ON invocations (created_at) WHERE outcome IS NULL;

-- The second wall behind every WHERE.
ALTER TABLE invocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE invocations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON invocations USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
