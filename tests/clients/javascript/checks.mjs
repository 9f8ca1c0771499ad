// What the scripts share: where the pools are, and how a check is made.

import { setTimeout } from 'node:timers/promises';
import { inspect } from 'node:util';

// A pool whose keys are well, one whose only key rests, and one where the client key has used up its day.
export const { POOL_URL, RESTING_POOL_URL, LIMITED_POOL_URL, CLIENT_KEY, OTHER_CLIENT_KEY } = process.env;
export const WRONG_KEY = 'not-a-client-key';

export const MODEL = 'gemini-2.5-flash';
export const MISSING_MODEL = 'there-is-no-such-model';
export const EMBEDDING_MODEL = 'gemini-embedding-001';
export const QUESTION = 'Why is the sky blue?';

/** Prints a line for a check that passed; ends the script at one that did not. */
export function check(name, passed, seen) {
  if (!passed) {
    console.error(`FAILED ${name}: ${inspect(seen)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

/** The error of this kind that `act` throws; another one, or none, ends the script. */
export async function thrown(kind, act) {
  let answer;
  try {
    answer = await act();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  console.error(`FAILED: ${kind.name} was not thrown, but ${inspect(answer)} came`);
  process.exit(1);
}

/** What a stream yields, as an array. */
export async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** Ends the first run of a script that goes on, with this, in a second one. */
export function handOver(state) {
  console.log(`state ${JSON.stringify(state)}`);
}

/** What the first run of the script has handed over; nothing in the first run. */
export function handedOver() {
  return process.argv[2] && JSON.parse(process.argv[2]);
}

/** Looks at work until it is done, and returns how it then looks. */
export async function until(name, look, isDone) {
  let seen;
  for (let looks = 0; looks < 100; looks += 1) {
    seen = await look();
    if (isDone(seen)) {
      console.log(`ok ${name}`);
      return seen;
    }
    await setTimeout(50);
  }
  return check(name, false, seen);
}
