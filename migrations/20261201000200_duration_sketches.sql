-- The histograms of the rollups become sketches: JSON objects with the number of durations by the first millisecond of their bin. A
-- bin is a tenth of its first millisecond wide, below 20 one millisecond: in {"19":1,"550":12}, one duration is of 19 ms and 12
-- are of 550 to 604 ms. The durations of an old bucket all count in a bin in its middle.

-- Sums of finished requests of kind `request`.
CREATE TABLE model_hours_with_sketches (
    hour_ms INTEGER NOT NULL,
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
    first_byte_sketch TEXT NOT NULL,
    duration_sketch TEXT NOT NULL,
    PRIMARY KEY (hour_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;

INSERT INTO model_hours_with_sketches (
    hour_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens,
    tool_tokens, total_tokens, cost_nano_usd, first_byte_sketch, duration_sketch
)
SELECT
    hour_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens,
    tool_tokens, total_tokens, cost_nano_usd,
    '{' || ltrim(
        iif(first_byte_0 > 0, ',"24":' || first_byte_0, '') || iif(first_byte_1 > 0, ',"66":' || first_byte_1, '')
        || iif(first_byte_2 > 0, ',"136":' || first_byte_2, '') || iif(first_byte_3 > 0, ',"259":' || first_byte_3, '')
        || iif(first_byte_4 > 0, ',"550":' || first_byte_4, '') || iif(first_byte_5 > 0, ',"1069":' || first_byte_5, '')
        || iif(first_byte_6 > 0, ',"2079":' || first_byte_6, '') || iif(first_byte_7 > 0, ',"4450":' || first_byte_7, '')
        || iif(first_byte_8 > 0, ',"8669":' || first_byte_8, '') || iif(first_byte_9 > 0, ',"16887":' || first_byte_9, '')
        || iif(first_byte_10 > 0, ',"36194":' || first_byte_10, '') || iif(first_byte_11 > 0, ',"70528":' || first_byte_11, ''),
        ','
    ) || '}',
    '{' || ltrim(
        iif(duration_0 > 0, ',"24":' || duration_0, '') || iif(duration_1 > 0, ',"66":' || duration_1, '')
        || iif(duration_2 > 0, ',"136":' || duration_2, '') || iif(duration_3 > 0, ',"259":' || duration_3, '')
        || iif(duration_4 > 0, ',"550":' || duration_4, '') || iif(duration_5 > 0, ',"1069":' || duration_5, '')
        || iif(duration_6 > 0, ',"2079":' || duration_6, '') || iif(duration_7 > 0, ',"4450":' || duration_7, '')
        || iif(duration_8 > 0, ',"8669":' || duration_8, '') || iif(duration_9 > 0, ',"16887":' || duration_9, '')
        || iif(duration_10 > 0, ',"36194":' || duration_10, '') || iif(duration_11 > 0, ',"70528":' || duration_11, ''),
        ','
    ) || '}'
FROM model_hours;

DROP TABLE model_hours;
ALTER TABLE model_hours_with_sketches RENAME TO model_hours;

-- `model_hours` by day of UTC: of a month the status page reads a few rows of these in place of hundreds of hours.
CREATE TABLE model_days_with_sketches (
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
    first_byte_sketch TEXT NOT NULL,
    duration_sketch TEXT NOT NULL,
    PRIMARY KEY (day_ms, model_id, outcome)
) STRICT, WITHOUT ROWID;

INSERT INTO model_days_with_sketches (
    day_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens,
    tool_tokens, total_tokens, cost_nano_usd, first_byte_sketch, duration_sketch
)
SELECT
    day_ms, model_id, outcome, requests, prompt_tokens, output_tokens, thought_tokens, cached_tokens,
    tool_tokens, total_tokens, cost_nano_usd,
    '{' || ltrim(
        iif(first_byte_0 > 0, ',"24":' || first_byte_0, '') || iif(first_byte_1 > 0, ',"66":' || first_byte_1, '')
        || iif(first_byte_2 > 0, ',"136":' || first_byte_2, '') || iif(first_byte_3 > 0, ',"259":' || first_byte_3, '')
        || iif(first_byte_4 > 0, ',"550":' || first_byte_4, '') || iif(first_byte_5 > 0, ',"1069":' || first_byte_5, '')
        || iif(first_byte_6 > 0, ',"2079":' || first_byte_6, '') || iif(first_byte_7 > 0, ',"4450":' || first_byte_7, '')
        || iif(first_byte_8 > 0, ',"8669":' || first_byte_8, '') || iif(first_byte_9 > 0, ',"16887":' || first_byte_9, '')
        || iif(first_byte_10 > 0, ',"36194":' || first_byte_10, '') || iif(first_byte_11 > 0, ',"70528":' || first_byte_11, ''),
        ','
    ) || '}',
    '{' || ltrim(
        iif(duration_0 > 0, ',"24":' || duration_0, '') || iif(duration_1 > 0, ',"66":' || duration_1, '')
        || iif(duration_2 > 0, ',"136":' || duration_2, '') || iif(duration_3 > 0, ',"259":' || duration_3, '')
        || iif(duration_4 > 0, ',"550":' || duration_4, '') || iif(duration_5 > 0, ',"1069":' || duration_5, '')
        || iif(duration_6 > 0, ',"2079":' || duration_6, '') || iif(duration_7 > 0, ',"4450":' || duration_7, '')
        || iif(duration_8 > 0, ',"8669":' || duration_8, '') || iif(duration_9 > 0, ',"16887":' || duration_9, '')
        || iif(duration_10 > 0, ',"36194":' || duration_10, '') || iif(duration_11 > 0, ',"70528":' || duration_11, ''),
        ','
    ) || '}'
FROM model_days;

DROP TABLE model_days;
ALTER TABLE model_days_with_sketches RENAME TO model_days;

CREATE TABLE client_key_hours_with_sketches (
    hour_ms INTEGER NOT NULL,
    client_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_sketch TEXT NOT NULL,
    duration_sketch TEXT NOT NULL,
    PRIMARY KEY (hour_ms, client_key_id)
) STRICT, WITHOUT ROWID;

INSERT INTO client_key_hours_with_sketches (
    hour_ms, client_key_id, requests, successes, failures, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_sketch, duration_sketch
)
SELECT
    hour_ms, client_key_id, requests, successes, failures, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd,
    '{' || ltrim(
        iif(first_byte_0 > 0, ',"24":' || first_byte_0, '') || iif(first_byte_1 > 0, ',"66":' || first_byte_1, '')
        || iif(first_byte_2 > 0, ',"136":' || first_byte_2, '') || iif(first_byte_3 > 0, ',"259":' || first_byte_3, '')
        || iif(first_byte_4 > 0, ',"550":' || first_byte_4, '') || iif(first_byte_5 > 0, ',"1069":' || first_byte_5, '')
        || iif(first_byte_6 > 0, ',"2079":' || first_byte_6, '') || iif(first_byte_7 > 0, ',"4450":' || first_byte_7, '')
        || iif(first_byte_8 > 0, ',"8669":' || first_byte_8, '') || iif(first_byte_9 > 0, ',"16887":' || first_byte_9, '')
        || iif(first_byte_10 > 0, ',"36194":' || first_byte_10, '') || iif(first_byte_11 > 0, ',"70528":' || first_byte_11, ''),
        ','
    ) || '}',
    '{' || ltrim(
        iif(duration_0 > 0, ',"24":' || duration_0, '') || iif(duration_1 > 0, ',"66":' || duration_1, '')
        || iif(duration_2 > 0, ',"136":' || duration_2, '') || iif(duration_3 > 0, ',"259":' || duration_3, '')
        || iif(duration_4 > 0, ',"550":' || duration_4, '') || iif(duration_5 > 0, ',"1069":' || duration_5, '')
        || iif(duration_6 > 0, ',"2079":' || duration_6, '') || iif(duration_7 > 0, ',"4450":' || duration_7, '')
        || iif(duration_8 > 0, ',"8669":' || duration_8, '') || iif(duration_9 > 0, ',"16887":' || duration_9, '')
        || iif(duration_10 > 0, ',"36194":' || duration_10, '') || iif(duration_11 > 0, ',"70528":' || duration_11, ''),
        ','
    ) || '}'
FROM client_key_hours;

DROP TABLE client_key_hours;
ALTER TABLE client_key_hours_with_sketches RENAME TO client_key_hours;

-- By attempt, not by request. Days are UTC.
CREATE TABLE upstream_key_days_with_sketches (
    day_ms INTEGER NOT NULL,
    upstream_key_id INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    thought_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    tool_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL,
    cost_nano_usd INTEGER NOT NULL,
    first_byte_sketch TEXT NOT NULL,
    duration_sketch TEXT NOT NULL,
    PRIMARY KEY (day_ms, upstream_key_id)
) STRICT, WITHOUT ROWID;

INSERT INTO upstream_key_days_with_sketches (
    day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd, first_byte_sketch, duration_sketch
)
SELECT
    day_ms, upstream_key_id, requests, successes, failures, prompt_tokens, output_tokens, thought_tokens,
    cached_tokens, tool_tokens, total_tokens, cost_nano_usd,
    '{' || ltrim(
        iif(first_byte_0 > 0, ',"24":' || first_byte_0, '') || iif(first_byte_1 > 0, ',"66":' || first_byte_1, '')
        || iif(first_byte_2 > 0, ',"136":' || first_byte_2, '') || iif(first_byte_3 > 0, ',"259":' || first_byte_3, '')
        || iif(first_byte_4 > 0, ',"550":' || first_byte_4, '') || iif(first_byte_5 > 0, ',"1069":' || first_byte_5, '')
        || iif(first_byte_6 > 0, ',"2079":' || first_byte_6, '') || iif(first_byte_7 > 0, ',"4450":' || first_byte_7, '')
        || iif(first_byte_8 > 0, ',"8669":' || first_byte_8, '') || iif(first_byte_9 > 0, ',"16887":' || first_byte_9, '')
        || iif(first_byte_10 > 0, ',"36194":' || first_byte_10, '') || iif(first_byte_11 > 0, ',"70528":' || first_byte_11, ''),
        ','
    ) || '}',
    '{' || ltrim(
        iif(duration_0 > 0, ',"24":' || duration_0, '') || iif(duration_1 > 0, ',"66":' || duration_1, '')
        || iif(duration_2 > 0, ',"136":' || duration_2, '') || iif(duration_3 > 0, ',"259":' || duration_3, '')
        || iif(duration_4 > 0, ',"550":' || duration_4, '') || iif(duration_5 > 0, ',"1069":' || duration_5, '')
        || iif(duration_6 > 0, ',"2079":' || duration_6, '') || iif(duration_7 > 0, ',"4450":' || duration_7, '')
        || iif(duration_8 > 0, ',"8669":' || duration_8, '') || iif(duration_9 > 0, ',"16887":' || duration_9, '')
        || iif(duration_10 > 0, ',"36194":' || duration_10, '') || iif(duration_11 > 0, ',"70528":' || duration_11, ''),
        ','
    ) || '}'
FROM upstream_key_days;

DROP TABLE upstream_key_days;
ALTER TABLE upstream_key_days_with_sketches RENAME TO upstream_key_days;
