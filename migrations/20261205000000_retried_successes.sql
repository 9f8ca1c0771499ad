-- Successes with more than one attempt: failures that clients never saw.
ALTER TABLE model_hours ADD COLUMN retried_successes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE model_days ADD COLUMN retried_successes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE client_key_hours ADD COLUMN retried_successes INTEGER NOT NULL DEFAULT 0;

-- The log is read once. Few requests have more than one attempt, so that the table is small.
CREATE TABLE retried_requests AS
SELECT
    started_at_ms - started_at_ms % 3600000 AS hour_ms, coalesce(rollup_model_id, model_id, 0) AS model_id,
    ifnull(client_key_id, 0) AS client_key_id, count(*) AS requests
FROM request_logs
WHERE kind = 'request' AND outcome = 'success' AND attempts > 1
GROUP BY 1, 2, 3;

UPDATE model_hours
SET retried_successes = retried.requests
FROM (SELECT hour_ms, model_id, sum(requests) AS requests FROM retried_requests GROUP BY 1, 2) AS retried
WHERE
    retried.hour_ms = model_hours.hour_ms AND retried.model_id = model_hours.model_id AND model_hours.outcome = 'success';

UPDATE model_days
SET retried_successes = retried.requests
FROM (
    SELECT hour_ms - hour_ms % 86400000 AS day_ms, model_id, sum(requests) AS requests
    FROM retried_requests
    GROUP BY 1, 2
) AS retried
WHERE retried.day_ms = model_days.day_ms AND retried.model_id = model_days.model_id AND model_days.outcome = 'success';

UPDATE client_key_hours
SET retried_successes = retried.requests
FROM (SELECT hour_ms, client_key_id, sum(requests) AS requests FROM retried_requests GROUP BY 1, 2) AS retried
WHERE retried.hour_ms = client_key_hours.hour_ms AND retried.client_key_id = client_key_hours.client_key_id;

DROP TABLE retried_requests;
