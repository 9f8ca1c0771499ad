-- Why a request had no further attempt.
ALTER TABLE request_logs ADD COLUMN stop_reason TEXT;
