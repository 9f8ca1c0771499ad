"""Google's own SDK for Python against a pool."""

import asyncio
import io

from google import genai
from google.genai import errors, types

from checks import (
    CLIENT_KEY,
    EMBEDDING_MODEL,
    LIMITED_POOL_URL,
    MISSING_MODEL,
    MODEL,
    POOL_URL,
    QUESTION,
    RESTING_POOL_URL,
    WRONG_KEY,
    check,
    raised,
)


def client(url=POOL_URL, key=CLIENT_KEY):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


def ask(client, model=MODEL):
    return client.models.generate_content(model=model, contents=QUESTION)


def check_stream(name, chunks):
    """Several pieces of text came, and the last one knows what they cost."""
    text = "".join(chunk.text or "" for chunk in chunks)
    check(name, len(chunks) > 1 and text, chunks)
    check(f"{name}: tokens", chunks[-1].usage_metadata.total_token_count > 0, chunks[-1])


async def stream_async(client):
    stream = await client.aio.models.generate_content_stream(model=MODEL, contents=QUESTION)
    return [chunk async for chunk in stream]


pool = client()

answer = ask(pool)
check("unary", answer.text, answer)
check("unary: tokens", answer.usage_metadata.total_token_count > 0, answer)

stream = pool.models.generate_content_stream(model=MODEL, contents=QUESTION)
check_stream("streamed", list(stream))
check_stream("streamed, asynchronous", asyncio.run(stream_async(pool)))

embedded = pool.models.embed_content(model=EMBEDDING_MODEL, contents=["one", "two"])
lengths = [len(embedding.values) for embedding in embedded.embeddings]
check("embedding", len(lengths) == 2 and min(lengths) > 0, lengths)

counted = pool.models.count_tokens(model=MODEL, contents=QUESTION)
check("count of tokens", counted.total_tokens > 0, counted)

names = [model.name for model in pool.models.list()]
check("list of models", f"models/{MODEL}" in names, names)

text = types.UploadFileConfig(mime_type="text/plain")
file = pool.files.upload(file=io.BytesIO(b"x" * 9_000_000), config=text)
check("upload in two parts", file.size_bytes == 9_000_000, file)
asked = pool.models.generate_content(model=MODEL, contents=[QUESTION, file])
check("question about a file", asked.text, asked)
check("list of files", file.name in [listed.name for listed in pool.files.list()], file)
pool.files.delete(name=file.name)
error = raised(errors.ClientError, lambda: pool.files.get(name=file.name))
check("deleted file", error.code in (403, 404), error)

error = raised(errors.ClientError, lambda: ask(pool, MISSING_MODEL))
check("missing model", error.code == 404 and MISSING_MODEL in error.message, error)

stream = lambda: list(pool.models.generate_content_stream(model=MISSING_MODEL, contents=QUESTION))
error = raised(errors.ClientError, stream)
check("missing model, streamed", error.code == 404, error)

error = raised(errors.ClientError, lambda: ask(client(key=WRONG_KEY)))
check("wrong client key", error.code == 401 and "client key is not known" in error.message, error)

error = raised(errors.ClientError, lambda: ask(client(url=RESTING_POOL_URL)))
check("every key rests", error.code == 429 and error.status == "RESOURCE_EXHAUSTED", error)
check("every key rests: message", error.message.startswith("gemini-pool: the quota for"), error)

error = raised(errors.ClientError, lambda: ask(client(url=LIMITED_POOL_URL)))
check("the client key's limit", error.code == 429 and error.status == "RESOURCE_EXHAUSTED", error)
told = "gemini-pool: this client key has sent 1 request today and may send 1"
check("the client key's limit: message", error.message.startswith(told), error)
