-- What the sweep of old results goes by. The build keeps writers of this table out, and readers not, for some seconds per
-- ten million rows. Where that is too long, the owner builds the very same index CONCURRENTLY before; then this does nothing.
CREATE INDEX IF NOT EXISTS invocations_finished ON invocations (finished_at) WHERE outcome IS NOT NULL;
