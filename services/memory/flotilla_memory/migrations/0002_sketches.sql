-- What says roughly how near a memory is, a tenth of its row, so that recall need not read every memory of a person.
-- Functions, because rows and questions have to be sketched alike.
CREATE FUNCTION embedding_space(model text, embedding vector) RETURNS bigint IMMUTABLE PARALLEL SAFE
  RETURN coalesce((hashtext(model)::bigint & 2147483647) * 16384 + vector_dims(embedding), 0);
CREATE FUNCTION about_zero(dimensions int) RETURNS vector IMMUTABLE PARALLEL SAFE
  RETURN array_fill((0.4 / sqrt(dimensions))::real, ARRAY[dimensions])::vector;
-- Two bits a dimension: below, about or above zero, which orders far better than the sign alone does.
CREATE FUNCTION embedding_sketch(embedding vector) RETURNS bit varying IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN embedding IS NOT NULL THEN
    binary_quantize(l2_normalize(subvector(embedding, 1, 4096)) - about_zero(least(vector_dims(embedding), 4096)))
    || binary_quantize(l2_normalize(subvector(embedding, 1, 4096)) + about_zero(least(vector_dims(embedding), 4096)))
  END;
-- One bit a word, by its hash.
CREATE FUNCTION word_sketch(words text[]) RETURNS bit varying IMMUTABLE PARALLEL SAFE
  RETURN (SELECT coalesce(bit_or(set_bit(0::bit(512), hashtext(word) & 511, 1)), 0::bit(512))
    FROM unnest(words) AS word);

CREATE TABLE sketches (
    tenant_id uuid NOT NULL,
    user_id uuid NOT NULL,
    space bigint NOT NULL, -- model and dimensions of the embedding, 0 without one; equal spaces have equal dimensions
    kind smallint NOT NULL,
    created_at timestamptz NOT NULL,
    memory_id uuid NOT NULL,
    thread_id uuid,
    embedding_sketch bit varying,
    word_sketch bit varying NOT NULL,
    PRIMARY KEY (tenant_id, user_id, space, kind, created_at, memory_id) INCLUDE (thread_id, embedding_sketch)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02); -- recall reads the index alone where pages were vacuumed
-- Has Postgres plan for few rows, so by the index and in its order; where few people have most, it would read the table.
ALTER TABLE sketches ALTER user_id SET (n_distinct = -1);
ALTER TABLE sketches ENABLE ROW LEVEL SECURITY;
ALTER TABLE sketches FORCE ROW LEVEL SECURITY;
-- The wall as before, but the setting is read once a statement instead of once a row.
CREATE POLICY tenant ON sketches USING (
  tenant_id = (SELECT nullif(nullif(current_setting('flotilla.tenant_id', true), '*'), '')::uuid)
  OR (SELECT current_setting('flotilla.tenant_id', true) = '*'));
ALTER POLICY tenant ON memories USING (
  tenant_id = (SELECT nullif(nullif(current_setting('flotilla.tenant_id', true), '*'), '')::uuid)
  OR (SELECT current_setting('flotilla.tenant_id', true) = '*'));

-- Triggers, because releases that do not know of sketches go on writing while they are replaced.
CREATE FUNCTION sketch_memories() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  INSERT INTO sketches SELECT tenant_id, user_id, embedding_space(embedding_model, embedding), kind, created_at,
    memory_id, thread_id, embedding_sketch(embedding), word_sketch(tsvector_to_array(words)) FROM written;
  RETURN NULL;
END $$;
CREATE FUNCTION forget_sketches() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
  DELETE FROM sketches s USING forgotten f WHERE s.tenant_id = f.tenant_id AND s.user_id = f.user_id
    AND s.space = embedding_space(f.embedding_model, f.embedding) AND s.kind = f.kind
    AND s.created_at = f.created_at AND s.memory_id = f.memory_id;
  RETURN NULL;
END $$;
CREATE TRIGGER sketch_memories AFTER INSERT ON memories REFERENCING NEW TABLE AS written
  FOR EACH STATEMENT EXECUTE FUNCTION sketch_memories();
CREATE TRIGGER forget_sketches AFTER DELETE ON memories REFERENCING OLD TABLE AS forgotten
  FOR EACH STATEMENT EXECUTE FUNCTION forget_sketches();
