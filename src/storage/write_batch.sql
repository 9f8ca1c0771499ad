-- What one batch of rows writes, in one round trip within one transaction: the rows, their attempts, the statistics
-- and the sums, which so always agree. Each parameter is a JSON array with a line a row; as one parameter many rows cost
-- little more than one, and as jsonb a line is read once and not once a column.

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
INSERT INTO request_logs (
    id, started_at_ms, kind, client_key_id, client_ip_id, user_agent_id, method, path_id, model_id,
    model_version_id, operation_id, streamed, status, outcome, error, attempts, upstream_key_id, project_id,
    wait_ms, first_byte_ms, duration_ms, request_bytes, response_bytes, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, finish_reason_id, service_tier_id, cost_nano_usd
)
SELECT
    line ->> '$.id', line ->> '$.started_at_ms', line ->> '$.kind', line ->> '$.client_key_id',
    line ->> '$.client_ip_id', line ->> '$.user_agent_id', line ->> '$.method', line ->> '$.path_id',
    line ->> '$.model_id', line ->> '$.model_version_id', line ->> '$.operation_id',
    line ->> '$.streamed', line ->> '$.status', line ->> '$.outcome', line ->> '$.error',
    line ->> '$.attempts', line ->> '$.upstream_key_id', line ->> '$.project_id', line ->> '$.wait_ms',
    line ->> '$.first_byte_ms', line ->> '$.duration_ms', line ->> '$.request_bytes',
    line ->> '$.response_bytes', line ->> '$.prompt_tokens', line ->> '$.output_tokens',
    line ->> '$.thought_tokens', line ->> '$.cached_tokens', line ->> '$.tool_tokens',
    line ->> '$.total_tokens', line ->> '$.finish_reason_id', line ->> '$.service_tier_id',
    line ->> '$.cost_nano_usd'
FROM lines
WHERE true
ON CONFLICT (id) DO UPDATE
SET
    client_key_id = excluded.client_key_id, model_id = excluded.model_id,
    model_version_id = excluded.model_version_id, operation_id = excluded.operation_id,
    streamed = excluded.streamed, status = excluded.status, outcome = excluded.outcome,
    error = excluded.error, attempts = excluded.attempts, upstream_key_id = excluded.upstream_key_id,
    project_id = excluded.project_id, wait_ms = excluded.wait_ms, first_byte_ms = excluded.first_byte_ms,
    duration_ms = excluded.duration_ms, request_bytes = excluded.request_bytes,
    response_bytes = excluded.response_bytes, prompt_tokens = excluded.prompt_tokens,
    output_tokens = excluded.output_tokens, thought_tokens = excluded.thought_tokens,
    cached_tokens = excluded.cached_tokens, tool_tokens = excluded.tool_tokens,
    total_tokens = excluded.total_tokens, finish_reason_id = excluded.finish_reason_id,
    service_tier_id = excluded.service_tier_id, cost_nano_usd = excluded.cost_nano_usd;

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
INSERT INTO attempts (
    request_id, number, upstream_key_id, project_id, status, outcome, rule, error, started_at_ms, duration_ms
)
SELECT
    line ->> '$.request_id', line ->> '$.number', line ->> '$.upstream_key_id', line ->> '$.project_id',
    line ->> '$.status', line ->> '$.outcome', line ->> '$.rule', line ->> '$.error',
    line ->> '$.started_at_ms', line ->> '$.duration_ms'
FROM lines
WHERE true
ON CONFLICT (request_id, number) DO UPDATE
SET
    status = excluded.status, outcome = excluded.outcome, rule = excluded.rule, error = excluded.error,
    duration_ms = excluded.duration_ms;

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
UPDATE upstream_keys
SET
    requests = requests + (line ->> '$.requests'),
    successes = successes + (line ->> '$.successes'),
    failures = failures + (line ->> '$.failures'),
    prompt_tokens = prompt_tokens + (line ->> '$.prompt_tokens'),
    output_tokens = output_tokens + (line ->> '$.output_tokens'),
    total_tokens = total_tokens + (line ->> '$.total_tokens'),
    last_used_at_ms = max(ifnull(last_used_at_ms, 0), line ->> '$.last_used_at_ms'),
    last_error = ifnull(line ->> '$.last_error', last_error)
FROM lines
WHERE upstream_keys.id = line ->> '$.id';

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
UPDATE client_keys
SET
    requests = requests + (line ->> '$.requests'),
    successes = successes + (line ->> '$.successes'),
    failures = failures + (line ->> '$.failures'),
    prompt_tokens = prompt_tokens + (line ->> '$.prompt_tokens'),
    output_tokens = output_tokens + (line ->> '$.output_tokens'),
    total_tokens = total_tokens + (line ->> '$.total_tokens'),
    last_used_at_ms = max(ifnull(last_used_at_ms, 0), line ->> '$.last_used_at_ms')
FROM lines
WHERE client_keys.id = line ->> '$.id';

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
INSERT INTO model_hours (
    hour_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0, first_byte_1,
    first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7, first_byte_8,
    first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2, duration_3,
    duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10, duration_11
)
SELECT
    line ->> '$.period', line ->> '$.of', line ->> '$.outcome', line ->> '$.requests',
    line ->> '$.prompt_tokens', line ->> '$.output_tokens', line ->> '$.thought_tokens',
    line ->> '$.cached_tokens', line ->> '$.tool_tokens', line ->> '$.total_tokens',
    line ->> '$.cost_nano_usd', line ->> '$.first_byte[0]', line ->> '$.first_byte[1]',
    line ->> '$.first_byte[2]', line ->> '$.first_byte[3]', line ->> '$.first_byte[4]',
    line ->> '$.first_byte[5]', line ->> '$.first_byte[6]', line ->> '$.first_byte[7]',
    line ->> '$.first_byte[8]', line ->> '$.first_byte[9]', line ->> '$.first_byte[10]',
    line ->> '$.first_byte[11]', line ->> '$.duration[0]', line ->> '$.duration[1]',
    line ->> '$.duration[2]', line ->> '$.duration[3]', line ->> '$.duration[4]',
    line ->> '$.duration[5]', line ->> '$.duration[6]', line ->> '$.duration[7]',
    line ->> '$.duration[8]', line ->> '$.duration[9]', line ->> '$.duration[10]',
    line ->> '$.duration[11]'
FROM lines
WHERE true
ON CONFLICT (hour_ms, model_id, outcome) DO UPDATE
SET
    requests = requests + excluded.requests, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    thought_tokens = thought_tokens + excluded.thought_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    tool_tokens = tool_tokens + excluded.tool_tokens,
    total_tokens = total_tokens + excluded.total_tokens,
    cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
    first_byte_0 = first_byte_0 + excluded.first_byte_0,
    first_byte_1 = first_byte_1 + excluded.first_byte_1,
    first_byte_2 = first_byte_2 + excluded.first_byte_2,
    first_byte_3 = first_byte_3 + excluded.first_byte_3,
    first_byte_4 = first_byte_4 + excluded.first_byte_4,
    first_byte_5 = first_byte_5 + excluded.first_byte_5,
    first_byte_6 = first_byte_6 + excluded.first_byte_6,
    first_byte_7 = first_byte_7 + excluded.first_byte_7,
    first_byte_8 = first_byte_8 + excluded.first_byte_8,
    first_byte_9 = first_byte_9 + excluded.first_byte_9,
    first_byte_10 = first_byte_10 + excluded.first_byte_10,
    first_byte_11 = first_byte_11 + excluded.first_byte_11,
    duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
    duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
    duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
    duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
    duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
    duration_10 = duration_10 + excluded.duration_10,
    duration_11 = duration_11 + excluded.duration_11;

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
INSERT INTO client_key_hours (
    hour_ms, client_key_id, requests, successes, failures, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
    first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
    first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
    duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
    duration_11
)
SELECT
    line ->> '$.period', line ->> '$.of', line ->> '$.requests', line ->> '$.successes',
    line ->> '$.failures', line ->> '$.prompt_tokens', line ->> '$.output_tokens',
    line ->> '$.thought_tokens', line ->> '$.cached_tokens', line ->> '$.tool_tokens',
    line ->> '$.total_tokens', line ->> '$.cost_nano_usd', line ->> '$.first_byte[0]',
    line ->> '$.first_byte[1]', line ->> '$.first_byte[2]', line ->> '$.first_byte[3]',
    line ->> '$.first_byte[4]', line ->> '$.first_byte[5]', line ->> '$.first_byte[6]',
    line ->> '$.first_byte[7]', line ->> '$.first_byte[8]', line ->> '$.first_byte[9]',
    line ->> '$.first_byte[10]', line ->> '$.first_byte[11]', line ->> '$.duration[0]',
    line ->> '$.duration[1]', line ->> '$.duration[2]', line ->> '$.duration[3]',
    line ->> '$.duration[4]', line ->> '$.duration[5]', line ->> '$.duration[6]',
    line ->> '$.duration[7]', line ->> '$.duration[8]', line ->> '$.duration[9]',
    line ->> '$.duration[10]', line ->> '$.duration[11]'
FROM lines
WHERE true
ON CONFLICT (hour_ms, client_key_id) DO UPDATE
SET
    requests = requests + excluded.requests, successes = successes + excluded.successes,
    failures = failures + excluded.failures, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    thought_tokens = thought_tokens + excluded.thought_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    tool_tokens = tool_tokens + excluded.tool_tokens,
    total_tokens = total_tokens + excluded.total_tokens,
    cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
    first_byte_0 = first_byte_0 + excluded.first_byte_0,
    first_byte_1 = first_byte_1 + excluded.first_byte_1,
    first_byte_2 = first_byte_2 + excluded.first_byte_2,
    first_byte_3 = first_byte_3 + excluded.first_byte_3,
    first_byte_4 = first_byte_4 + excluded.first_byte_4,
    first_byte_5 = first_byte_5 + excluded.first_byte_5,
    first_byte_6 = first_byte_6 + excluded.first_byte_6,
    first_byte_7 = first_byte_7 + excluded.first_byte_7,
    first_byte_8 = first_byte_8 + excluded.first_byte_8,
    first_byte_9 = first_byte_9 + excluded.first_byte_9,
    first_byte_10 = first_byte_10 + excluded.first_byte_10,
    first_byte_11 = first_byte_11 + excluded.first_byte_11,
    duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
    duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
    duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
    duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
    duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
    duration_10 = duration_10 + excluded.duration_10,
    duration_11 = duration_11 + excluded.duration_11;

WITH lines AS MATERIALIZED (SELECT jsonb(value) AS line FROM json_each(?))
INSERT INTO upstream_key_days (
    day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
    first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
    first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
    duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
    duration_11
)
SELECT
    line ->> '$.period', line ->> '$.of', line ->> '$.requests', line ->> '$.successes',
    line ->> '$.failures', line ->> '$.prompt_tokens', line ->> '$.output_tokens',
    line ->> '$.thought_tokens', line ->> '$.cached_tokens', line ->> '$.tool_tokens',
    line ->> '$.total_tokens', line ->> '$.cost_nano_usd', line ->> '$.first_byte[0]',
    line ->> '$.first_byte[1]', line ->> '$.first_byte[2]', line ->> '$.first_byte[3]',
    line ->> '$.first_byte[4]', line ->> '$.first_byte[5]', line ->> '$.first_byte[6]',
    line ->> '$.first_byte[7]', line ->> '$.first_byte[8]', line ->> '$.first_byte[9]',
    line ->> '$.first_byte[10]', line ->> '$.first_byte[11]', line ->> '$.duration[0]',
    line ->> '$.duration[1]', line ->> '$.duration[2]', line ->> '$.duration[3]',
    line ->> '$.duration[4]', line ->> '$.duration[5]', line ->> '$.duration[6]',
    line ->> '$.duration[7]', line ->> '$.duration[8]', line ->> '$.duration[9]',
    line ->> '$.duration[10]', line ->> '$.duration[11]'
FROM lines
WHERE true
ON CONFLICT (day_ms, upstream_key_id) DO UPDATE
SET
    requests = requests + excluded.requests, successes = successes + excluded.successes,
    failures = failures + excluded.failures, prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    thought_tokens = thought_tokens + excluded.thought_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    tool_tokens = tool_tokens + excluded.tool_tokens,
    total_tokens = total_tokens + excluded.total_tokens,
    cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
    first_byte_0 = first_byte_0 + excluded.first_byte_0,
    first_byte_1 = first_byte_1 + excluded.first_byte_1,
    first_byte_2 = first_byte_2 + excluded.first_byte_2,
    first_byte_3 = first_byte_3 + excluded.first_byte_3,
    first_byte_4 = first_byte_4 + excluded.first_byte_4,
    first_byte_5 = first_byte_5 + excluded.first_byte_5,
    first_byte_6 = first_byte_6 + excluded.first_byte_6,
    first_byte_7 = first_byte_7 + excluded.first_byte_7,
    first_byte_8 = first_byte_8 + excluded.first_byte_8,
    first_byte_9 = first_byte_9 + excluded.first_byte_9,
    first_byte_10 = first_byte_10 + excluded.first_byte_10,
    first_byte_11 = first_byte_11 + excluded.first_byte_11,
    duration_0 = duration_0 + excluded.duration_0, duration_1 = duration_1 + excluded.duration_1,
    duration_2 = duration_2 + excluded.duration_2, duration_3 = duration_3 + excluded.duration_3,
    duration_4 = duration_4 + excluded.duration_4, duration_5 = duration_5 + excluded.duration_5,
    duration_6 = duration_6 + excluded.duration_6, duration_7 = duration_7 + excluded.duration_7,
    duration_8 = duration_8 + excluded.duration_8, duration_9 = duration_9 + excluded.duration_9,
    duration_10 = duration_10 + excluded.duration_10,
    duration_11 = duration_11 + excluded.duration_11;
