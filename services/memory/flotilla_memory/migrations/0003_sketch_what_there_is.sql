-- Sketches of the memories from before the trigger. Nobody waits for it, however many there are.
SELECT set_config('flotilla.tenant_id', '*', true);
INSERT INTO sketches SELECT tenant_id, user_id, embedding_space(embedding_model, embedding), kind, created_at,
  memory_id, thread_id, embedding_sketch(embedding), word_sketch(tsvector_to_array(words)) FROM memories
ON CONFLICT DO NOTHING;
-- What was forgotten meanwhile left no sketch that its trigger could see. Writers wait for this statement alone.
LOCK TABLE memories IN SHARE ROW EXCLUSIVE MODE;
DELETE FROM sketches s WHERE NOT EXISTS (
  SELECT FROM memories m WHERE m.tenant_id = s.tenant_id AND m.memory_id = s.memory_id);
