// OpenAI's SDK for JavaScript, as it is made, streams against a pool where its client key may use 3,000 tokens a day.

import OpenAI from 'openai';

import { CLIENT_KEY, MODEL, POOL_URL, check } from './checks.mjs';

const client = new OpenAI({ apiKey: CLIENT_KEY, baseURL: `${POOL_URL}/v1beta/openai/` });
const messages = [{ role: 'user', content: 'word '.repeat(1600) }];
let served = 0;
try {
  for (let round = 0; round < 12; round += 1) {
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
    for await (const _ of stream);
    served += 1;
  }
} catch (error) {
  check('the limit stopped it', error instanceof OpenAI.RateLimitError && error.message.includes('may use 3000'), error);
}
check('within one request of the limit', served === 2, served);
