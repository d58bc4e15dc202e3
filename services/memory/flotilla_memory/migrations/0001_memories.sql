-- Everything a person is remembered by. Recall reads one person's rows and compares them exactly: no vector index.
CREATE TABLE memories (
    tenant_id uuid NOT NULL,
    memory_id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind smallint NOT NULL CHECK (kind IN (1, 2)), -- 1 episode, 2 fact
    text text NOT NULL,
    text_digest bytea NOT NULL, -- equal for texts that differ only in case and white space
    run_id uuid,
    thread_id uuid,
    agent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    embedding_model text, -- vectors of different models are never compared
    embedding vector,
    words tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
    PRIMARY KEY (tenant_id, memory_id),
    CHECK (kind <> 1 OR run_id IS NOT NULL),
    CHECK ((embedding IS NULL) = (embedding_model IS NULL))
) WITH (toast_tuple_target = 8160); -- keeps vectors of up to ~1,900 dimensions in the row: recall reads them all
CREATE INDEX memories_of_person ON memories (tenant_id, user_id, created_at DESC, memory_id DESC);
CREATE UNIQUE INDEX facts_once ON memories (tenant_id, user_id, text_digest) WHERE kind = 2;

-- The runs whose turn was stored. A row outlives its forgotten memory, so that a late redelivery does not bring it back.
CREATE TABLE committed_runs (
    tenant_id uuid NOT NULL,
    run_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, run_id)
);

-- The facts that were stored under an idempotency key.
CREATE TABLE fact_keys (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    text_digest bytea NOT NULL,
    memory_id uuid NOT NULL,
    run_id uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id, idempotency_key)
);

-- Short texts that every answer sees.
CREATE TABLE core_blocks (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    label text NOT NULL,
    text text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, user_id, label)
);

-- The second wall behind every WHERE.
ALTER TABLE memories ENABLE ROW LEVEL SECURITY;
ALTER TABLE memories FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON memories USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
ALTER TABLE committed_runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE committed_runs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON committed_runs USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
ALTER TABLE fact_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE fact_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON fact_keys USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
ALTER TABLE core_blocks ENABLE ROW LEVEL SECURITY;
ALTER TABLE core_blocks FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON core_blocks USING (current_setting('flotilla.tenant_id', true) IN (tenant_id::text, '*'));
