// Google's own SDK for JavaScript makes a video, and finds it after a restart of the pool. Only older ones know how to ask.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ApiError, GenerateVideosOperation, GoogleGenAI } from '@google/genai';

import {
  CLIENT_KEY, OTHER_CLIENT_KEY, POOL_URL, check, collect, handOver, handedOver, thrown, until,
} from './checks.mjs';

// As the fake makes them.
const VIDEO_BYTES = 4096;
const MODEL = 'veo-3.0-fast-generate-001';

const client = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: POOL_URL } });
const pool = client(CLIENT_KEY);
const other = client(OTHER_CLIENT_KEY);
const folder = await mkdtemp(join(tmpdir(), 'video-'));

const get = (operation, whose = pool) => whose.operations.getVideosOperation({ operation });

async function download(video, whose = pool) {
  const downloadPath = join(folder, 'video.mp4');
  await writeFile(downloadPath, '');
  await whose.files.download({ file: video, downloadPath });
  // The SDK says that it is done before it has written all.
  return until('video: written', () => readFile(downloadPath), (told) => told.length === VIDEO_BYTES);
}

/** To another client it is as if it did not exist. */
async function checkForeign(name, act) {
  const error = await thrown(ApiError, act);
  check(`${name}: not another client's`, error.status === 404, error);
}

async function look(begun) {
  const done = await until('video: done', () => get(begun), (operation) => operation.done);
  const [{ video }] = done.response.generatedVideos;
  const told = await download(video);
  check('video: downloaded', told.toString('latin1', 4, 8) === 'ftyp', told);
  await checkForeign('video', () => get(begun, other));
  await checkForeign('video: download', () => download(video, other));
}

const name = handedOver();
if (name) {
  const operation = new GenerateVideosOperation();
  operation.name = name;
  await look(operation);
  const files = (await collect(await pool.files.list())).map((file) => file.name);
  check('list of files', files.length === 1, files);
  await pool.files.delete({ name: files[0] });
  check('nothing is left', (await collect(await pool.files.list())).length === 0);
} else {
  const operation = await pool.models.generateVideos({ model: MODEL, prompt: 'Waves at a lighthouse.' });
  await look(operation);
  handOver(operation.name);
}
await rm(folder, { recursive: true });
