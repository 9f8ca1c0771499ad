// Live sessions of Google's own SDK for JavaScript through a pool.

import { GoogleGenAI, Modality } from '@google/genai';

import { CLIENT_KEY, POOL_URL, QUESTION, WRONG_KEY, check } from './checks.mjs';

const MODEL = 'gemini-2.5-flash-native-audio-preview-09-2025';

/** Opens a session, whose `next` gives what comes, one message after another, and whose `closed` comes last. */
async function open(config = {}, model = MODEL, apiKey = CLIENT_KEY) {
  const client = new GoogleGenAI({ apiKey, httpOptions: { baseUrl: POOL_URL } });
  const messages = [];
  const waiting = [];
  const pass = (message) => (waiting.length > 0 ? waiting.shift()(message) : messages.push(message));
  const next = async () => messages.shift() ?? new Promise((resolve) => waiting.push(resolve));
  let close;
  const closed = new Promise((resolve) => { close = resolve; });
  const connecting = client.live.connect({
    model,
    config: { responseModalities: [Modality.AUDIO], outputAudioTranscription: {}, ...config },
    callbacks: { onmessage: pass, onclose: close, onerror: () => {} },
  });
  const session = await Promise.race([connecting, closed.then(() => null)]).catch(() => null);
  return { session, next, closed };
}

/** Listens until `found` finds something in a message. */
async function hear(next, found) {
  const texts = [];
  for (;;) {
    const message = await next();
    const text = message.serverContent?.outputTranscription?.text;
    if (text) texts.push(text);
    const it = found(message);
    if (it) return { it, text: texts.join('') };
  }
}

const ask = (session) => session.sendClientContent({ turns: QUESTION, turnComplete: true });
const usage = (message) => message.serverContent?.turnComplete && message.usageMetadata;
const newHandle = (message) => message.sessionResumptionUpdate?.newHandle;

const first = await open({ sessionResumption: {} });
check('setup', await hear(first.next, (message) => message.setupComplete));
ask(first.session);
const audio = (message) => message.serverContent?.modelTurn?.parts?.[0]?.inlineData?.data;
const spoken = await hear(first.next, audio);
check('audio', spoken.it, spoken);
check('transcript', spoken.text, spoken);
const counted = await hear(first.next, usage);
check('tokens', counted.it.totalTokenCount > 0, counted);
const { it: handle } = await hear(first.next, newHandle);
check('handle', handle, handle);
first.session.close();
check('closed', (await first.closed).code === 1005, await first.closed);

const again = await open({ sessionResumption: { handle } });
check('resumed', await hear(again.next, (message) => message.setupComplete));
ask(again.session);
check('resumed: turn', await hear(again.next, usage));
again.session.close();
await again.closed;

const functionDeclarations = [{ name: 'record_reading', description: 'Stores a value.' }];
const tools = await open({ tools: [{ functionDeclarations }] });
ask(tools.session);
const { it: calls } = await hear(tools.next, (message) => message.toolCall?.functionCalls);
check('tool call', calls[0].name === 'record_reading', calls);
const { id, name } = calls[0];
tools.session.sendToolResponse({ functionResponses: [{ id, name, response: { output: 'Recorded.' } }] });
check('tool call: turn', await hear(tools.next, usage));
tools.session.close();
await tools.closed;

const missing = await (await open({}, 'there-is-no-such-model')).closed;
check('missing model', missing.code === 1008 && missing.reason.includes('is not found for API version'), missing);

const wrong = await open({}, MODEL, WRONG_KEY);
check('wrong client key', (await wrong.closed).code === 1006, await wrong.closed);
process.exit();
