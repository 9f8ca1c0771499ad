-- What the pool refused by its rules is neither success nor failure, as a client's error is.

UPDATE client_key_hours
SET failures = max(failures - refused.requests, 0)
FROM (
    SELECT
        ifnull(client_key_id, 0) AS client_key_id,
        started_at_ms - started_at_ms % 3600000 AS hour_ms,
        count(*) AS requests
    FROM request_logs INDEXED BY request_logs_unlike_success
    WHERE outcome = 'refused' AND outcome <> 'success' AND kind = 'request'
    GROUP BY 1, 2
) AS refused
WHERE client_key_hours.client_key_id = refused.client_key_id AND client_key_hours.hour_ms = refused.hour_ms;

UPDATE client_keys
SET failures = (SELECT ifnull(sum(failures), 0) FROM client_key_hours WHERE client_key_id = client_keys.id);
