ALTER TABLE upstream_keys ADD COLUMN checked_at_ms INTEGER; -- the last check; null: never
