// Google's own SDK for JavaScript makes what belongs to one project, and uses it again after a restart of the pool.

import { createHash } from 'node:crypto';
import { open, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ApiError, GoogleGenAI } from '@google/genai';

import {
  CLIENT_KEY, MODEL, OTHER_CLIENT_KEY, POOL_URL, QUESTION, check, collect, handOver, handedOver, thrown, until,
} from './checks.mjs';

const FILE_BYTES = Number(process.env.FILE_BYTES);
// Of the large file; each begins with its number.
const PIECE_BYTES = 100_000;
const STORY = 'A long story about a lighthouse. '.repeat(2_000);
const TURNS = 10;

const client = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: POOL_URL } });
const pool = client(CLIENT_KEY);
const other = client(OTHER_CLIENT_KEY);
const folder = await mkdtemp(join(tmpdir(), 'resources-'));

const partOf = (file) => ({ fileData: { fileUri: file.uri, mimeType: file.mimeType } });

const ask = (contents, config) => pool.models.generateContent({ model: MODEL, contents, config });

async function askStreaming(contents) {
  const chunks = await collect(await pool.models.generateContentStream({ model: MODEL, contents }));
  return chunks.map((chunk) => chunk.text ?? '').join('');
}

const uploadText = (text, whose = pool, mimeType = 'text/plain') =>
  whose.files.upload({ file: new Blob([text], { type: mimeType }), config: { mimeType } });

const names = async (list) => (await collect(await list)).map((each) => each.name);

async function download(file) {
  const downloadPath = join(folder, 'downloaded');
  await pool.files.download({ file, downloadPath });
  return readFile(downloadPath);
}

/** To another client it is as if it did not exist. */
async function checkForeign(name, act, kind = ApiError) {
  const error = await thrown(kind, act);
  check(`${name}: not another client's`, error.status === 404, error);
}

async function makeFile() {
  const path = join(folder, 'large.bin');
  const large = await open(path, 'w');
  const [piece, digest] = [Buffer.alloc(PIECE_BYTES, 'x'), createHash('sha256')];
  for (let number = 0; number < FILE_BYTES / PIECE_BYTES; number += 1) {
    piece.writeUInt32BE(number);
    digest.update(piece);
    await large.write(piece);
  }
  await large.close();
  const config = { mimeType: 'application/pdf', displayName: 'large' };
  const file = await pool.files.upload({ file: path, config });
  check('file: uploaded', Number(file.sizeBytes) === FILE_BYTES, file);
  const received = Buffer.from(file.sha256Hash, 'base64').toString();
  check('file: as it was', received === digest.digest('hex'), file);
  const contents = [{ text: QUESTION }, partOf(file)];
  for (let number = 1; number <= TURNS; number += 1) {
    const text = number % 2 ? (await ask(contents)).text : await askStreaming(contents);
    check(`file: question ${number}`, text);
  }
  await checkForeign('file', () => other.files.get({ name: file.name }));
  await checkForeign('file: deletion', () => other.files.delete({ name: file.name }));
  await checkForeign('file: question', () => other.models.generateContent({ model: MODEL, contents }));
  await uploadText('What nobody else shall see.', other);
  return file;
}

async function makeCache(file) {
  const contents = [{ role: 'user', parts: [{ text: STORY }, partOf(file)] }];
  const create = () => pool.caches.create({ model: MODEL, config: { contents, ttl: '600s' } });
  const cache = await create();
  for (let number = 0; number < 3; number += 1) {
    const answer = await ask('Who?', { cachedContent: cache.name });
    check('cache: used', answer.usageMetadata.cachedContentTokenCount > 0, answer);
  }
  const otherCache = await create();
  const listed = await names(pool.caches.list());
  check('cache: list', listed.length === 2 && listed.includes(otherCache.name), listed);
  const updated = await pool.caches.update({ name: cache.name, config: { ttl: '1200s' } });
  check('cache: update', updated.expireTime > cache.expireTime, updated);
  await pool.caches.delete({ name: otherCache.name });
  await checkForeign('cache', () => other.caches.get({ name: cache.name }));
  return cache;
}

const finishBatch = (name) =>
  until('batch: done', () => pool.batches.get({ name }), (job) => job.state === 'JOB_STATE_SUCCEEDED');

async function makeBatch() {
  // Requests that carry something of themselves, and requests in a file.
  const src = ['One?', 'Two?'].map((text) => ({ contents: [{ parts: [{ text }] }] }));
  const job = await pool.batches.create({ model: MODEL, src, config: { displayName: 'two' } });
  const answers = (await finishBatch(job.name)).dest.inlinedResponses;
  const texts = answers.map((answer) => answer.response.candidates[0].content.parts[0].text);
  check('batch: answers', texts.length === 2 && texts.every(Boolean), answers);

  const line = '{"key": "one", "request": {"contents": [{"parts": [{"text": "One?"}]}]}}\n';
  const lines = await uploadText(line.repeat(3), pool, 'application/jsonl');
  const ofFile = await pool.batches.create({ model: MODEL, src: lines.name });
  const output = (await finishBatch(ofFile.name)).dest.fileName;
  const told = await download(output);
  check('batch of a file: answers', told.toString().split('"key":"one"').length === 4, told);
  const listed = await names(pool.batches.list());
  check('batch: list', listed.length === 2 && listed.includes(job.name), listed);
  await checkForeign('batch', () => other.batches.get({ name: job.name }));
  await pool.batches.delete({ name: ofFile.name });
  await pool.files.delete({ name: lines.name });
  await pool.files.delete({ name: output });
  return job;
}

async function searchIn(store, ...parts) {
  const tools = [{ fileSearch: { fileSearchStoreNames: [store] } }];
  return (await ask([{ text: QUESTION }, ...parts], { tools })).text;
}

async function makeStore(file) {
  const stores = pool.fileSearchStores;
  const store = await stores.create({ config: { displayName: 'Tales of the sea' } });
  const fileSearchStoreName = store.name;
  const finish = (name, begun) =>
    until(name, () => pool.operations.get({ operation: begun }), (operation) => operation.done);
  const story = new Blob([STORY], { type: 'text/plain' });
  const config = { displayName: 'story', mimeType: 'text/plain' };
  const begun = await stores.uploadToFileSearchStore({ file: story, fileSearchStoreName, config });
  const uploaded = await finish('store: uploaded', begun);
  const short = await uploadText('A short story.');
  await finish('store: imported', await stores.importFile({ fileSearchStoreName, fileName: short.name }));
  check('store: used', await searchIn(store.name));
  check('store: used beside a file', await searchIn(store.name, partOf(file)));
  const documents = await names(stores.documents.list({ parent: store.name }));
  const { documentName } = uploaded.response;
  check('store: documents', documents.length === 2 && documents.includes(documentName), documents);
  const listed = await names(stores.list());
  check('store: list', listed.length === 1 && listed[0] === store.name, listed);
  await checkForeign('store', () => other.fileSearchStores.get({ name: store.name }));
  await pool.files.delete({ name: short.name });
  return { store: store.name, document: documentName };
}

const say = (before, more = {}) =>
  pool.interactions.create({ model: MODEL, input: QUESTION, previous_interaction_id: before, ...more });

/** The interaction that the end of a stream tells of. */
function completed(events) {
  const ends = events.filter((event) => event.event_type === 'interaction.completed');
  check('interaction: the stream ends', ends.length === 1, events);
  return ends[0].interaction;
}

/** Breaks a stream off and listens to the rest of it later. */
async function takeUp(before) {
  const begun = [];
  for await (const event of await say(before, { background: true, stream: true })) {
    begun.push(event);
    if (begun.length === 4) break;
  }
  const last = begun.at(-1).event_id;
  const rest = await collect(await pool.interactions.get(begun[0].interaction.id, { stream: true, last_event_id: last }));
  check('interaction: taken up', begun.every((event) => event.event_id !== rest[0].event_id), rest);
  return completed(rest);
}

async function makeInteraction() {
  let turn = await pool.interactions.create({ model: MODEL, input: QUESTION });
  for (let number = 2; number <= TURNS; number += 1) {
    if (number === 3 || number === 7) {
      turn = completed(await collect(await say(turn.id, { stream: true })));
    } else if (number === 4) {
      const { id } = await say(turn.id, { background: true });
      const look = () => pool.interactions.get(id);
      turn = await until('interaction: in the background', look, (seen) => seen.status === 'completed');
    } else if (number === 8) {
      turn = await takeUp(turn.id);
    } else {
      turn = await say(turn.id);
    }
    check(`interaction: turn ${number}`, turn.status === 'completed' && turn.id, turn);
  }
  await checkForeign('interaction', () => other.interactions.get(turn.id), Error);
  return turn;
}

async function make() {
  const file = await makeFile();
  const cache = await makeCache(file);
  const batch = await makeBatch();
  const store = await makeStore(file);
  const turn = await makeInteraction();
  handOver({
    file: file.name,
    cache: cache.name,
    batch: batch.name,
    ...store,
    turn: turn.id,
  });
}

async function use(made) {
  const file = await pool.files.get({ name: made.file });
  const contents = [{ text: QUESTION }, partOf(file)];
  check('file again', (await ask(contents)).text);
  check('file again, streamed', await askStreaming(contents));
  const answer = await ask('Who?', { cachedContent: made.cache });
  check('cache again', answer.usageMetadata.cachedContentTokenCount > 0, answer);
  await finishBatch(made.batch);
  check('store again', await searchIn(made.store, partOf(file)));
  const turn = await say(made.turn);
  check('interaction again', turn.status === 'completed', turn);

  await checkForeign('file again', () => other.files.get({ name: file.name }));
  const files = await names(pool.files.list());
  check('list of files', files.includes(file.name) && files.length <= 2, files);
  const foreign = await names(other.files.list());
  check('list of files of the other', foreign.length === 1 && !files.includes(foreign[0]), foreign);

  await pool.interactions.delete(turn.id);
  const deleted = await thrown(Error, () => pool.interactions.get(turn.id));
  check('deleted interaction', deleted.status === 404, deleted);
  await pool.caches.delete({ name: made.cache });
  await pool.batches.delete({ name: made.batch });
  const stores = pool.fileSearchStores;
  await stores.documents.delete({ name: made.document, config: { force: true } });
  await stores.delete({ name: made.store, config: { force: true } });
  for (const name of files) await pool.files.delete({ name });
  const lists = [pool.files.list(), stores.list(), pool.caches.list()];
  const left = (await Promise.all(lists.map(names))).flat();
  check('nothing is left', left.length === 0, left);
}

const made = handedOver();
await (made ? use(made) : make());
await rm(folder, { recursive: true });
