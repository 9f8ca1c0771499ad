// OpenAI's SDK for JavaScript against a pool.

import OpenAI from 'openai';

import {
  CLIENT_KEY, EMBEDDING_MODEL, LIMITED_POOL_URL, MISSING_MODEL, MODEL, POOL_URL, QUESTION, RESTING_POOL_URL,
  WRONG_KEY, check, collect, thrown,
} from './checks.mjs';

// A retry would wait as long as the pool asks.
const client = (url = POOL_URL, apiKey = CLIENT_KEY) =>
  new OpenAI({ apiKey, baseURL: `${url}/v1beta/openai/`, maxRetries: 0 });

const ask = (client, model = MODEL, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content: QUESTION }], ...more });

const pool = client();

const answer = await ask(pool);
check('unary', answer.choices[0].message.content, answer);
check('unary: tokens', answer.usage.total_tokens > 0, answer);

const stream = { stream: true, stream_options: { include_usage: true } };
const chunks = await collect(await ask(pool, MODEL, stream));
const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');
check('streamed', chunks.length > 1 && text, chunks);
check('streamed: tokens', chunks.at(-1).usage.total_tokens > 0, chunks.at(-1));

// Without being told, the SDK asks for base64 and undoes it.
const embedded = await pool.embeddings.create({ model: EMBEDDING_MODEL, input: ['one', 'two'] });
const lengths = embedded.data.map((each) => each.embedding.length);
check('embedding', lengths.length === 2 && Math.min(...lengths) > 0, lengths);

const names = (await collect(await pool.models.list())).map((model) => model.id);
check('list of models', names.includes(`models/${MODEL}`), names);

const missing = await thrown(OpenAI.NotFoundError, () => ask(pool, MISSING_MODEL));
check('missing model', missing.status === 404, missing);

const missingStream = await thrown(OpenAI.NotFoundError, () => ask(pool, MISSING_MODEL, stream));
check('missing model, streamed', missingStream.status === 404, missingStream);

const wrong = await thrown(OpenAI.AuthenticationError, () => ask(client(POOL_URL, WRONG_KEY)));
check('wrong client key', wrong.status === 401 && wrong.code === 'invalid_api_key', wrong);

const resting = await thrown(OpenAI.RateLimitError, () => ask(client(RESTING_POOL_URL)));
check('every key rests', resting.status === 429 && resting.code === 'rate_limit_exceeded', resting);
check('every key rests: message', resting.message.includes('gemini-pool: the quota for'), resting);

const limited = await thrown(OpenAI.RateLimitError, () => ask(client(LIMITED_POOL_URL)));
check("the client key's limit", limited.status === 429 && limited.code === 'rate_limit_exceeded', limited);
check("the client key's limit: message", limited.message.includes('has sent 1 request today'), limited);
