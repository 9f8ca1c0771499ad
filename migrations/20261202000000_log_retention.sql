-- Hours in which a request or an attempt began that was deleted out of order. Their rollups, and those of their days, cannot be computed
-- from the log any more. What was deleted oldest first is before `log_pruning.until_ms`, and needs no row here.
CREATE TABLE pruned_hours (
    hour_ms INTEGER PRIMARY KEY
) STRICT;

-- One row: the number of finished rows of `request_logs`, so that no limit has to count them.
CREATE TABLE log_counter (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    finished_rows INTEGER NOT NULL
) STRICT;
INSERT INTO log_counter (id, finished_rows)
SELECT 1, (SELECT count(*) FROM request_logs) - (SELECT count(*) FROM request_logs WHERE outcome IS NULL);

-- The requests that were sent to Google, which the limits by the day count: without those that the pool refused.
ALTER TABLE client_key_hours ADD COLUMN sent_requests INTEGER NOT NULL DEFAULT 0;
UPDATE client_key_hours
SET sent_requests = sent.requests
FROM (
    SELECT
        started_at_ms - started_at_ms % 3600000 AS hour_ms, ifnull(client_key_id, 0) AS client_key_id, count(*) AS requests
    FROM request_logs
    WHERE kind = 'request' AND outcome IS NOT NULL AND attempts > 0
    GROUP BY 1, 2
) AS sent
WHERE sent.hour_ms = client_key_hours.hour_ms AND sent.client_key_id = client_key_hours.client_key_id;
