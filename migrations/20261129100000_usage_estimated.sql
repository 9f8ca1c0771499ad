-- Whether the tokens of a request are an estimate, because Google reported none.
ALTER TABLE request_logs
ADD COLUMN usage_estimated INTEGER NOT NULL DEFAULT 0 CHECK (usage_estimated IN (0, 1));
