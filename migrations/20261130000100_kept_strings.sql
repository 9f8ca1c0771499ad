-- What clients invent goes with the rows that name it; what Google names is kept. Models that Google never confirmed count in the
-- rollups as `other`.
ALTER TABLE strings ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0 CHECK (is_kept IN (0, 1));
-- A model that Google has answered well for.
ALTER TABLE strings ADD COLUMN is_model INTEGER NOT NULL DEFAULT 0 CHECK (is_model IN (0, 1));
-- The string of the model that the rollups count the row under, where it is not `model_id`.
ALTER TABLE request_logs ADD COLUMN rollup_model_id INTEGER;

UPDATE strings SET is_model = 1
WHERE id <> 0 AND id IN (SELECT model_id FROM model_days WHERE outcome = 'success');

WITH named AS MATERIALIZED (
    SELECT DISTINCT model_version_id, operation_id, finish_reason_id, service_tier_id FROM request_logs
)
UPDATE strings SET is_kept = 1
WHERE
    id = 0
    OR id IN (SELECT model_id FROM model_hours)
    OR id IN (SELECT model_id FROM model_days)
    OR id IN (SELECT model_id FROM quota_days)
    OR id IN (SELECT model_version_id FROM named)
    OR id IN (SELECT operation_id FROM named)
    OR id IN (SELECT finish_reason_id FROM named)
    OR id IN (SELECT service_tier_id FROM named);

INSERT INTO strings (value, is_kept) VALUES ('other', 1) ON CONFLICT (value) DO UPDATE SET is_kept = 1;

-- Strings of rows that were deleted before.
DELETE FROM strings
WHERE
    is_kept = 0
    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE client_ip_id = strings.id)
    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE user_agent_id = strings.id)
    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE path_id = strings.id)
    AND NOT EXISTS (SELECT 1 FROM request_logs WHERE model_id = strings.id);
