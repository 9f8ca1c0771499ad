"""OpenAI's SDK for Python makes files and batches, and finds them after a restart of the pool."""

import json

import openai

from checks import CLIENT_KEY, MODEL, OTHER_CLIENT_KEY, POOL_URL, QUESTION, check, hand_over, handed_over, raised, until


def client(key):
    return openai.OpenAI(api_key=key, base_url=f"{POOL_URL}/v1beta/openai/", max_retries=0)


pool, other = client(CLIENT_KEY), client(OTHER_CLIENT_KEY)


def upload(count):
    """Uploads so many requests."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}
    lines = (
        json.dumps({"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions", "body": body})
        for number in range(count)
    )
    return pool.files.create(file=("questions.jsonl", "\n".join(lines).encode()), purpose="batch")


def begin(file):
    return pool.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")


def finish(id):
    return until("batch: done", lambda: pool.batches.retrieve(id), lambda batch: batch.status == "completed")


def check_answers(batch, count):
    lines = pool.files.content(batch.output_file_id).text.splitlines()
    answers = [json.loads(line)["response"]["body"]["choices"][0]["message"]["content"] for line in lines]
    check("batch: answers", len(answers) == count and all(answers), lines)


def check_foreign(name, act):
    """To another client it is as if it did not exist."""
    error = raised(openai.NotFoundError, act)
    check(f"{name}: not another client's", error.status_code == 404, error)


def make():
    files = [upload(count) for count in (1, 3)]
    done, begun = [begin(file) for file in files]
    check_answers(finish(done.id), 1)
    names = {batch.id for batch in pool.batches.list()}
    check("list of batches", names == {done.id, begun.id}, names)
    names = {file.id for file in pool.files.list()}
    check("list of files", names >= {file.id for file in files}, names)
    check_foreign("file", lambda: other.files.retrieve(files[0].id))
    check_foreign("batch", lambda: other.batches.retrieve(done.id))
    check_foreign("batch of its file", lambda: other.batches.create(
        input_file_id=files[0].id, endpoint="/v1/chat/completions", completion_window="24h"
    ))
    check("lists of the other", not list(other.files.list()) and not list(other.batches.list()))
    cancelled = pool.batches.cancel(begin(files[0]).id)
    check("batch: cancelled", cancelled.status == "cancelled", cancelled)
    # Older versions of the SDK have no videos.
    if hasattr(pool, "videos"):
        make_videos()
    hand_over({"file": files[1].id, "batch": begun.id})


def make_videos():
    made = [pool.videos.create(model="veo-3.1-fast-generate-preview", prompt="A lighthouse") for _ in range(2)]
    ids = {video.id for video in made}
    check("list of videos", {video.id for video in pool.videos.list()} == ids, made)
    first = made[0].id
    done = until("video: done", lambda: pool.videos.retrieve(first), lambda video: video.status == "completed")
    check("video: model", done.model == "veo-3.1-fast-generate-preview", done)
    check_foreign("video", lambda: other.videos.retrieve(first))
    check("videos of the other", not list(other.videos.list()))
    for id in ids:
        check("video: deleted", pool.videos.delete(id).deleted)
    check("no video is left", not list(pool.videos.list()))


def use(made):
    file = pool.files.retrieve(made["file"])
    check("file again", file.bytes > 0, file)
    check_answers(finish(made["batch"]), 3)
    check_answers(finish(begin(file).id), 3)
    names = [file.id for file in pool.files.list()]
    check("list of files", len(names) == 5 and file.id in names, names)
    check_foreign("file again", lambda: other.files.delete(file.id))
    for name in names:
        check("file: deleted", pool.files.delete(name).deleted)
    check("nothing is left", not list(pool.files.list()))


made = handed_over()
if made is None:
    make()
else:
    use(made)
