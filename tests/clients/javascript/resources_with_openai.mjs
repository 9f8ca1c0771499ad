// OpenAI's SDK for JavaScript makes files and batches, and finds them after a restart of the pool.

import OpenAI, { toFile } from 'openai';

import {
  CLIENT_KEY, MODEL, OTHER_CLIENT_KEY, POOL_URL, QUESTION, check, collect, handOver, handedOver, thrown, until,
} from './checks.mjs';

const client = (apiKey) => new OpenAI({ apiKey, baseURL: `${POOL_URL}/v1beta/openai/`, maxRetries: 0 });
const pool = client(CLIENT_KEY);
const other = client(OTHER_CLIENT_KEY);

const ids = async (list) => (await collect(await list)).map((each) => each.id);

/** Uploads so many requests. */
async function upload(count) {
  const body = { model: MODEL, messages: [{ role: 'user', content: QUESTION }] };
  const lines = Array.from({ length: count }, (_, number) =>
    JSON.stringify({ custom_id: String(number), method: 'POST', url: '/v1/chat/completions', body }));
  const file = await toFile(Buffer.from(lines.join('\n')), 'questions.jsonl');
  return pool.files.create({ file, purpose: 'batch' });
}

const begin = (file, whose = pool) =>
  whose.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });

const finish = (id) =>
  until('batch: done', () => pool.batches.retrieve(id), (batch) => batch.status === 'completed');

async function checkAnswers(batch, count) {
  const text = await (await pool.files.content(batch.output_file_id)).text();
  const lines = text.trim().split('\n').map((line) => JSON.parse(line));
  const answers = lines.map((line) => line.response.body.choices[0].message.content);
  check('batch: answers', answers.length === count && answers.every(Boolean), lines);
}

/** To another client it is as if it did not exist. */
async function checkForeign(name, act) {
  const error = await thrown(OpenAI.NotFoundError, act);
  check(`${name}: not another client's`, error.status === 404, error);
}

async function make() {
  const files = [await upload(1), await upload(3)];
  const [done, begun] = [await begin(files[0]), await begin(files[1])];
  await checkAnswers(await finish(done.id), 1);
  const batches = await ids(pool.batches.list());
  check('list of batches', batches.length === 2 && batches.includes(begun.id), batches);
  const listed = await ids(pool.files.list());
  check('list of files', files.every((file) => listed.includes(file.id)), listed);
  await checkForeign('file', () => other.files.retrieve(files[0].id));
  await checkForeign('batch', () => other.batches.retrieve(done.id));
  await checkForeign('batch of its file', () => begin(files[0], other));
  const foreign = [...await ids(other.files.list()), ...await ids(other.batches.list())];
  check('lists of the other', foreign.length === 0, foreign);
  const cancelled = await pool.batches.cancel((await begin(files[0])).id);
  check('batch: cancelled', cancelled.status === 'cancelled', cancelled);
  // Older versions of the SDK have no videos.
  if (pool.videos) await makeVideos();
  handOver({ file: files[1].id, batch: begun.id });
}

async function makeVideos() {
  const create = () => pool.videos.create({ model: 'veo-3.1-fast-generate-preview', prompt: 'A lighthouse' });
  const made = [(await create()).id, (await create()).id];
  const listed = await ids(pool.videos.list());
  check('list of videos', listed.length === 2 && made.every((id) => listed.includes(id)), listed);
  const done = await until(
    'video: done', () => pool.videos.retrieve(made[0]), (video) => video.status === 'completed');
  check('video: model', done.model === 'veo-3.1-fast-generate-preview', done);
  await checkForeign('video', () => other.videos.retrieve(made[0]));
  const foreign = await ids(other.videos.list());
  check('videos of the other', foreign.length === 0, foreign);
  for (const id of made) check('video: deleted', (await pool.videos.delete(id)).deleted);
  const left = await ids(pool.videos.list());
  check('no video is left', left.length === 0, left);
}

async function use(made) {
  const file = await pool.files.retrieve(made.file);
  check('file again', file.bytes > 0, file);
  await checkAnswers(await finish(made.batch), 3);
  const again = await begin(file);
  await checkAnswers(await finish(again.id), 3);
  const files = await ids(pool.files.list());
  check('list of files', files.length === 5 && files.includes(file.id), files);
  await checkForeign('file again', () => other.files.delete(file.id));
  for (const name of files) check('file: deleted', (await pool.files.delete(name)).deleted);
  const left = await ids(pool.files.list());
  check('nothing is left', left.length === 0, left);
}

const made = handedOver();
await (made ? use(made) : make());
