-- The statements for one batch of rows in one transaction: the rows, their attempts, the statistics and the rollups,
-- which therefore always agree. Each `@N` stands for one tuple of N parameters per row, and tuples of nulls are ignored.

INSERT INTO request_logs (
    id, started_at_ms, kind, client_key_id, client_ip_id, user_agent_id, method, path_id, model_id,
    model_version_id, operation_id, streamed, status, outcome, error, attempts, upstream_key_id, project_id,
    wait_ms, first_byte_ms, duration_ms, request_bytes, response_bytes, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, finish_reason_id, service_tier_id, cost_nano_usd,
    turns, close_code, bound_by
)
SELECT * FROM (VALUES @35) WHERE column1 IS NOT NULL
ON CONFLICT (id) DO UPDATE
SET
    client_key_id = excluded.client_key_id, bound_by = excluded.bound_by, model_id = excluded.model_id,
    model_version_id = excluded.model_version_id, operation_id = excluded.operation_id,
    streamed = excluded.streamed, status = excluded.status, outcome = excluded.outcome,
    error = excluded.error, attempts = excluded.attempts, upstream_key_id = excluded.upstream_key_id,
    project_id = excluded.project_id, wait_ms = excluded.wait_ms, first_byte_ms = excluded.first_byte_ms,
    duration_ms = excluded.duration_ms, request_bytes = excluded.request_bytes,
    response_bytes = excluded.response_bytes, prompt_tokens = excluded.prompt_tokens,
    output_tokens = excluded.output_tokens, thought_tokens = excluded.thought_tokens,
    cached_tokens = excluded.cached_tokens, tool_tokens = excluded.tool_tokens,
    total_tokens = excluded.total_tokens, finish_reason_id = excluded.finish_reason_id,
    service_tier_id = excluded.service_tier_id, cost_nano_usd = excluded.cost_nano_usd,
    turns = excluded.turns, close_code = excluded.close_code;

INSERT INTO attempts (
    request_id, number, upstream_key_id, project_id, status, outcome, rule, error, started_at_ms, duration_ms
)
SELECT * FROM (VALUES @10) WHERE column1 IS NOT NULL
ON CONFLICT (request_id, number) DO UPDATE
SET
    status = excluded.status, outcome = excluded.outcome, rule = excluded.rule, error = excluded.error,
    duration_ms = excluded.duration_ms;

UPDATE upstream_keys
SET
    requests = requests + v.column2,
    successes = successes + v.column3,
    failures = failures + v.column4,
    prompt_tokens = prompt_tokens + v.column5,
    output_tokens = output_tokens + v.column6,
    total_tokens = total_tokens + v.column7,
    last_used_at_ms = max(ifnull(last_used_at_ms, 0), v.column8),
    last_error = ifnull(v.column9, last_error)
FROM (VALUES @9) AS v
WHERE upstream_keys.id = v.column1;

UPDATE client_keys
SET
    requests = requests + v.column2,
    successes = successes + v.column3,
    failures = failures + v.column4,
    prompt_tokens = prompt_tokens + v.column5,
    output_tokens = output_tokens + v.column6,
    total_tokens = total_tokens + v.column7,
    last_used_at_ms = max(ifnull(last_used_at_ms, 0), v.column8)
FROM (VALUES @8) AS v
WHERE client_keys.id = v.column1;

INSERT INTO model_hours (
    hour_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0, first_byte_1,
    first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7, first_byte_8,
    first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2, duration_3,
    duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10, duration_11
)
SELECT * FROM (VALUES @35) WHERE column1 IS NOT NULL
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

INSERT INTO model_days (
    day_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0, first_byte_1,
    first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7, first_byte_8,
    first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2, duration_3,
    duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10, duration_11
)
SELECT * FROM (VALUES @35) WHERE column1 IS NOT NULL
ON CONFLICT (day_ms, model_id, outcome) DO UPDATE
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

INSERT INTO client_key_hours (
    hour_ms, client_key_id, requests, successes, failures, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
    first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
    first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
    duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
    duration_11
)
SELECT * FROM (VALUES @36) WHERE column1 IS NOT NULL
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

INSERT INTO upstream_key_days (
    day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens,
    thought_tokens, cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0,
    first_byte_1, first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
    first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
    duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9, duration_10,
    duration_11
)
SELECT * FROM (VALUES @36) WHERE column1 IS NOT NULL
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

INSERT INTO quota_days (day_ms, upstream_key_id, model_id, requests, input_tokens)
SELECT * FROM (VALUES @5) WHERE column1 IS NOT NULL
ON CONFLICT (day_ms, upstream_key_id, model_id) DO UPDATE
SET requests = requests + excluded.requests, input_tokens = input_tokens + excluded.input_tokens;
