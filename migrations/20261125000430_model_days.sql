-- `model_hours` by day of UTC: of a month the status page reads a few rows of these in place of hundreds of hours.
CREATE TABLE model_days (
    day_ms INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_0 INTEGER NOT NULL,
    first_byte_1 INTEGER NOT NULL,
    first_byte_2 INTEGER NOT NULL,
    first_byte_3 INTEGER NOT NULL,
    first_byte_4 INTEGER NOT NULL,
    first_byte_5 INTEGER NOT NULL,
    first_byte_6 INTEGER NOT NULL,
    first_byte_7 INTEGER NOT NULL,
    first_byte_8 INTEGER NOT NULL,
    first_byte_9 INTEGER NOT NULL,
    first_byte_10 INTEGER NOT NULL,
    first_byte_11 INTEGER NOT NULL,
    duration_0 INTEGER NOT NULL,
    duration_1 INTEGER NOT NULL,
    duration_2 INTEGER NOT NULL,
    duration_3 INTEGER NOT NULL,
    duration_4 INTEGER NOT NULL,
    duration_5 INTEGER NOT NULL,
    duration_6 INTEGER NOT NULL,
    duration_7 INTEGER NOT NULL,
    duration_8 INTEGER NOT NULL,
    duration_9 INTEGER NOT NULL,
    duration_10 INTEGER NOT NULL,
    duration_11 INTEGER NOT NULL,
    PRIMARY KEY (day_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;

INSERT INTO model_days (
    day_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_0, first_byte_1,
    first_byte_2, first_byte_3, first_byte_4, first_byte_5, first_byte_6, first_byte_7,
    first_byte_8, first_byte_9, first_byte_10, first_byte_11, duration_0, duration_1, duration_2,
    duration_3, duration_4, duration_5, duration_6, duration_7, duration_8, duration_9,
    duration_10, duration_11
)
SELECT
    hour_ms / 86400000 * 86400000, model_id, outcome,
    sum(requests), sum(prompt_tokens), sum(output_tokens), sum(thought_tokens), sum(cached_tokens),
    sum(tool_tokens), sum(total_tokens), sum(cost_nano_usd), sum(first_byte_0), sum(first_byte_1),
    sum(first_byte_2), sum(first_byte_3), sum(first_byte_4), sum(first_byte_5), sum(first_byte_6),
    sum(first_byte_7), sum(first_byte_8), sum(first_byte_9), sum(first_byte_10),
    sum(first_byte_11), sum(duration_0), sum(duration_1), sum(duration_2), sum(duration_3),
    sum(duration_4), sum(duration_5), sum(duration_6), sum(duration_7), sum(duration_8),
    sum(duration_9), sum(duration_10), sum(duration_11)
FROM model_hours
GROUP BY 1, 2, 3;
