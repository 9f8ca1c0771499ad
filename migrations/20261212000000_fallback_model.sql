-- The model that a request was sent to in place of the one asked for.
ALTER TABLE request_logs ADD COLUMN fallback_model TEXT;
