// Google's own SDK for JavaScript against a pool.

import { ApiError, GoogleGenAI } from '@google/genai';

import {
  CLIENT_KEY, EMBEDDING_MODEL, LIMITED_POOL_URL, MISSING_MODEL, MODEL, POOL_URL, QUESTION, RESTING_POOL_URL,
  WRONG_KEY, check, collect, thrown,
} from './checks.mjs';

const client = (baseUrl = POOL_URL, apiKey = CLIENT_KEY) =>
  new GoogleGenAI({ apiKey, httpOptions: { baseUrl } });

const ask = (client, model = MODEL) => client.models.generateContent({ model, contents: QUESTION });

const stream = async (client, model = MODEL) =>
  collect(await client.models.generateContentStream({ model, contents: QUESTION }));

const pool = client();

const answer = await ask(pool);
check('unary', answer.text, answer);
check('unary: tokens', answer.usageMetadata.totalTokenCount > 0, answer);

const chunks = await stream(pool);
const text = chunks.map((chunk) => chunk.text ?? '').join('');
check('streamed', chunks.length > 1 && text, chunks);
check('streamed: tokens', chunks.at(-1).usageMetadata.totalTokenCount > 0, chunks.at(-1));

const embedded = await pool.models.embedContent({ model: EMBEDDING_MODEL, contents: ['one', 'two'] });
const lengths = embedded.embeddings.map((embedding) => embedding.values.length);
check('embedding', lengths.length === 2 && Math.min(...lengths) > 0, lengths);

const counted = await pool.models.countTokens({ model: MODEL, contents: QUESTION });
check('count of tokens', counted.totalTokens > 0, counted);

const names = (await collect(await pool.models.list())).map((model) => model.name);
check('list of models', names.includes(`models/${MODEL}`), names);

const bytes = new Blob(['x'.repeat(9_000_000)], { type: 'text/plain' });
const file = await pool.files.upload({ file: bytes, config: { mimeType: 'text/plain' } });
check('upload in two parts', Number(file.sizeBytes) === 9_000_000, file);
const part = { fileData: { fileUri: file.uri, mimeType: file.mimeType } };
const asked = await pool.models.generateContent({ model: MODEL, contents: [{ text: QUESTION }, part] });
check('question about a file', asked.text, asked);
const files = (await collect(await pool.files.list())).map((listed) => listed.name);
check('list of files', files.includes(file.name), files);
await pool.files.delete({ name: file.name });
const deleted = await thrown(ApiError, () => pool.files.get({ name: file.name }));
check('deleted file', [403, 404].includes(deleted.status), deleted);

const missing = await thrown(ApiError, () => ask(pool, MISSING_MODEL));
check('missing model', missing.status === 404 && missing.message.includes(MISSING_MODEL), missing);

const missingStream = await thrown(ApiError, () => stream(pool, MISSING_MODEL));
check('missing model, streamed', missingStream.status === 404, missingStream);

const wrong = await thrown(ApiError, () => ask(client(POOL_URL, WRONG_KEY)));
check('wrong client key', wrong.status === 401 && wrong.message.includes('client key is not known'), wrong);

const resting = await thrown(ApiError, () => ask(client(RESTING_POOL_URL)));
check('every key rests', resting.status === 429, resting);
// The message is the body as it came.
const { error } = JSON.parse(resting.message);
check('every key rests: status', error.status === 'RESOURCE_EXHAUSTED', error);
check('every key rests: message', error.message.startsWith('gemini-pool: the quota for'), error);

const limited = await thrown(ApiError, () => ask(client(LIMITED_POOL_URL)));
check("the client key's limit", limited.status === 429, limited);
const told = 'gemini-pool: this client key has sent 1 request today and may send 1';
check("the client key's limit: message", JSON.parse(limited.message).error.message.startsWith(told), limited);
