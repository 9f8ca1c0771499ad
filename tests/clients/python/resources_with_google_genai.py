"""Google's own SDK for Python makes what belongs to one project, and uses it again after a restart of the pool."""

import base64
import hashlib
import io
import os
import tempfile

from google import genai
from google.genai import errors, types

from checks import (
    CLIENT_KEY,
    MODEL,
    OTHER_CLIENT_KEY,
    POOL_URL,
    QUESTION,
    check,
    hand_over,
    handed_over,
    raised,
    until,
)

FILE_BYTES = int(os.environ["FILE_BYTES"])
# Of the large file; each begins with its number.
PIECE = b"x" * 100_000
STORY = "A long story about a lighthouse. " * 2_000
TURNS = 10


def client(key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=POOL_URL))


pool, other = client(CLIENT_KEY), client(OTHER_CLIENT_KEY)


def ask(contents, **config):
    config = types.GenerateContentConfig(**config) if config else None
    return pool.models.generate_content(model=MODEL, contents=contents, config=config)


def ask_streaming(contents):
    stream = pool.models.generate_content_stream(model=MODEL, contents=contents)
    return "".join(chunk.text or "" for chunk in stream)


def upload_text(text, whose=pool, mime_type="text/plain"):
    config = types.UploadFileConfig(mime_type=mime_type)
    return whose.files.upload(file=io.BytesIO(text.encode()), config=config)


def check_foreign(name, act):
    """To another client it is as if it did not exist."""
    error = raised(errors.ClientError, act)
    check(f"{name}: not another client's", error.code == 404, error)


def make_file():
    with tempfile.NamedTemporaryFile(suffix=".bin") as large:
        digest = hashlib.sha256()
        for number in range(FILE_BYTES // len(PIECE)):
            piece = number.to_bytes(4, "big") + PIECE[4:]
            digest.update(piece)
            large.write(piece)
        large.flush()
        config = types.UploadFileConfig(mime_type="application/pdf", display_name="large")
        file = pool.files.upload(file=large.name, config=config)
    check("file: uploaded", file.size_bytes == FILE_BYTES, file)
    received = base64.b64decode(file.sha256_hash).decode()
    check("file: as it was", received == digest.hexdigest(), file)
    for number in range(TURNS):
        answer = ask_streaming([QUESTION, file]) if number % 2 else ask([QUESTION, file]).text
        check(f"file: question {number + 1}", answer, answer)
    check_foreign("file", lambda: other.files.get(name=file.name))
    check_foreign("file: deletion", lambda: other.files.delete(name=file.name))
    question = {"model": MODEL, "contents": [QUESTION, file]}
    check_foreign("file: question", lambda: other.models.generate_content(**question))
    upload_text("What nobody else shall see.", other)
    return file


def make_cache(file):
    config = types.CreateCachedContentConfig(contents=[STORY, file], display_name="story", ttl="600s")
    cache = pool.caches.create(model=MODEL, config=config)
    for _ in range(3):
        answer = ask("Who?", cached_content=cache.name)
        check("cache: used", answer.usage_metadata.cached_content_token_count > 0, answer)
    other_cache = pool.caches.create(model=MODEL, config=config)
    names = {listed.name for listed in pool.caches.list()}
    check("cache: list", names == {cache.name, other_cache.name}, names)
    config = types.UpdateCachedContentConfig(ttl="1200s")
    updated = pool.caches.update(name=cache.name, config=config)
    check("cache: update", updated.expire_time > cache.expire_time, updated)
    pool.caches.delete(name=other_cache.name)
    check_foreign("cache", lambda: other.caches.get(name=cache.name))
    return cache


def finish_batch(name):
    return until("batch: done", lambda: pool.batches.get(name=name), lambda job: job.state.name == "JOB_STATE_SUCCEEDED")


def make_batch():
    # Requests that carry something of themselves, and requests in a file.
    inlined = [types.InlinedRequest(contents=text) for text in ("One?", "Two?")]
    job = pool.batches.create(model=MODEL, src=inlined, config={"display_name": "two"})
    answers = finish_batch(job.name).dest.inlined_responses
    texts = [answer.response.text for answer in answers]
    check("batch: answers", len(texts) == 2 and all(texts), answers)

    line = '{"key": "one", "request": {"contents": [{"parts": [{"text": "One?"}]}]}}\n'
    lines = upload_text(line * 3, mime_type="application/jsonl")
    of_file = pool.batches.create(model=MODEL, src=lines.name)
    output = finish_batch(of_file.name).dest.file_name
    told = pool.files.download(file=output)
    check("batch of a file: answers", told.count(b'"key":"one"') == 3, told)
    names = {listed.name for listed in pool.batches.list()}
    check("batch: list", names == {job.name, of_file.name}, names)
    check_foreign("batch", lambda: other.batches.get(name=job.name))
    pool.batches.delete(name=of_file.name)
    pool.files.delete(name=lines.name)
    pool.files.delete(name=output)
    return job


def search_in(store, *contents):
    tool = types.Tool(file_search=types.FileSearch(file_search_store_names=[store]))
    return ask([QUESTION, *contents], tools=[tool]).text


def make_store(file):
    stores = pool.file_search_stores
    store = stores.create(config={"display_name": "Tales of the sea"})
    story = io.BytesIO(STORY.encode())
    config = {"display_name": "story", "mime_type": "text/plain"}
    begun = stores.upload_to_file_search_store(file=story, file_search_store_name=store.name, config=config)
    uploaded = until("store: uploaded", lambda: pool.operations.get(begun), lambda operation: operation.done)
    short = upload_text("A short story.")
    begun = stores.import_file(file_search_store_name=store.name, file_name=short.name)
    until("store: imported", lambda: pool.operations.get(begun), lambda operation: operation.done)
    check("store: used", search_in(store.name))
    check("store: used beside a file", search_in(store.name, file))
    names = [document.name for document in stores.documents.list(parent=store.name)]
    check("store: documents", uploaded.response.document_name in names and len(names) == 2, names)
    names = [listed.name for listed in stores.list()]
    check("store: list", names == [store.name], names)
    check_foreign("store", lambda: other.file_search_stores.get(name=store.name))
    pool.files.delete(name=short.name)
    return store, uploaded.response.document_name


def say(before, **more):
    return pool.interactions.create(model=MODEL, input=QUESTION, previous_interaction_id=before, **more)


def completed(events):
    """The interaction that the end of a stream tells of."""
    ends = [event.interaction for event in events if event.event_type == "interaction.completed"]
    check("interaction: the stream ends", len(ends) == 1, events)
    return ends[0]


def take_up(before):
    """Breaks a stream off and listens to the rest of it later."""
    stream = say(before, background=True, stream=True)
    begun = [next(stream) for _ in range(4)]
    stream.close()
    id, last = begun[0].interaction.id, begun[-1].event_id
    rest = list(pool.interactions.get(id, stream=True, last_event_id=last))
    check("interaction: taken up", rest[0].event_id not in [event.event_id for event in begun], rest)
    return completed(rest)


def make_interaction():
    turn = pool.interactions.create(model=MODEL, input=QUESTION)
    for number in range(2, TURNS + 1):
        if number in (3, 7):
            turn = completed(list(say(turn.id, stream=True)))
        elif number == 4:
            begun = say(turn.id, background=True)
            get = lambda: pool.interactions.get(begun.id)
            turn = until("interaction: in the background", get, lambda seen: seen.status == "completed")
        elif number == 8:
            turn = take_up(turn.id)
        else:
            turn = say(turn.id)
        check(f"interaction: turn {number}", turn.status == "completed" and turn.id, turn)
    error = raised(Exception, lambda: other.interactions.get(turn.id))
    check("interaction: not another client's", error.status_code == 404, error)
    return turn


def make():
    file = make_file()
    cache = make_cache(file)
    batch = make_batch()
    store, document = make_store(file)
    turn = make_interaction()
    hand_over({
        "file": file.name,
        "cache": cache.name,
        "batch": batch.name,
        "store": store.name,
        "document": document,
        "turn": turn.id,
    })


def use(made):
    file = pool.files.get(name=made["file"])
    part = types.Part.from_uri(file_uri=file.uri, mime_type=file.mime_type)
    check("file again", ask([QUESTION, part]).text)
    check("file again, streamed", ask_streaming([QUESTION, part]))
    answer = ask("Who?", cached_content=made["cache"])
    check("cache again", answer.usage_metadata.cached_content_token_count > 0, answer)
    finish_batch(made["batch"])
    check("store again", search_in(made["store"], part))
    turn = say(made["turn"])
    check("interaction again", turn.status == "completed", turn)

    check_foreign("file again", lambda: other.files.get(name=file.name))
    files = {listed.name for listed in pool.files.list()}
    check("list of files", file.name in files and len(files) <= 2, files)
    foreign = {listed.name for listed in other.files.list()}
    check("list of files of the other", len(foreign) == 1 and not foreign & files, foreign)

    pool.interactions.delete(turn.id)
    error = raised(Exception, lambda: pool.interactions.get(turn.id))
    check("deleted interaction", error.status_code == 404, error)
    pool.caches.delete(name=made["cache"])
    pool.batches.delete(name=made["batch"])
    stores = pool.file_search_stores
    stores.documents.delete(name=made["document"], config={"force": True})
    stores.delete(name=made["store"], config={"force": True})
    for name in files:
        pool.files.delete(name=name)
    check("nothing is left", not list(pool.files.list()) and not list(stores.list()) and not list(pool.caches.list()))


made = handed_over()
if made is None:
    make()
else:
    use(made)
