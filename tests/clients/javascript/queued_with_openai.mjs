// OpenAI's SDK for JavaScript, as it is made, against a pool where its client key has used up its minute.

import OpenAI from 'openai';

import { CLIENT_KEY, MODEL, POOL_URL, QUESTION, check } from './checks.mjs';

const client = new OpenAI({ apiKey: CLIENT_KEY, baseURL: `${POOL_URL}/v1beta/openai/` });
const messages = [{ role: 'user', content: QUESTION }];
const answer = await client.chat.completions.create({ model: MODEL, messages });
check('it waited and was served', answer.choices[0].message.content, answer);
