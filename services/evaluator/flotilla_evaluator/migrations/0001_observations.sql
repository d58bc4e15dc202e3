-- The finished runs that were shown to the evaluator. `messages` and `usage` are JSON: the only columns with content.
CREATE TABLE observations (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    user_id uuid NOT NULL,
    agent text NOT NULL,
    release text NOT NULL,
    messages bytea NOT NULL,
    usage bytea NOT NULL,
    duration_ms bigint NOT NULL,
    failed_tool_calls int NOT NULL,
    finished_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX observations_of_tenant ON observations (tenant_id, finished_at DESC, run_id DESC);
CREATE INDEX observations_of_person ON observations (tenant_id, user_id, finished_at DESC, run_id DESC);

-- One row for each scorer of a run.
CREATE TABLE scores (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    key text NOT NULL,
    value double precision NOT NULL CHECK (value BETWEEN 0 AND 1),
    explanation text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, run_id, key)
);

-- The second wall behind every WHERE.
ALTER TABLE observations ENABLE ROW LEVEL SECURITY;
ALTER TABLE observations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON observations USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
ALTER TABLE scores ENABLE ROW LEVEL SECURITY;
ALTER TABLE scores FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON scores USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
