"""OpenAI's SDK for Python against a pool."""

import openai

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
    # A retry would wait as long as the pool asks.
    return openai.OpenAI(api_key=key, base_url=f"{url}/v1beta/openai/", max_retries=0)


def ask(client, model=MODEL, **more):
    messages = [{"role": "user", "content": QUESTION}]
    return client.chat.completions.create(model=model, messages=messages, **more)


pool = client()

answer = ask(pool)
check("unary", answer.choices[0].message.content, answer)
check("unary: tokens", answer.usage.total_tokens > 0, answer)

chunks = list(ask(pool, stream=True, stream_options={"include_usage": True}))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
check("streamed", len(chunks) > 1 and text, chunks)
check("streamed: tokens", chunks[-1].usage.total_tokens > 0, chunks[-1])

# Without being told, the SDK asks for base64 and undoes it.
embedded = pool.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
lengths = [len(each.embedding) for each in embedded.data]
check("embedding", len(lengths) == 2 and min(lengths) > 0, lengths)

names = [model.id for model in pool.models.list()]
check("list of models", f"models/{MODEL}" in names, names)

error = raised(openai.NotFoundError, lambda: ask(pool, MISSING_MODEL))
check("missing model", error.status_code == 404, error)

error = raised(openai.NotFoundError, lambda: list(ask(pool, MISSING_MODEL, stream=True)))
check("missing model, streamed", error.status_code == 404, error)

error = raised(openai.AuthenticationError, lambda: ask(client(key=WRONG_KEY)))
check("wrong client key", error.status_code == 401 and error.code == "invalid_api_key", error)

error = raised(openai.RateLimitError, lambda: ask(client(url=RESTING_POOL_URL)))
check("every key rests", error.status_code == 429 and error.code == "rate_limit_exceeded", error)
check("every key rests: message", "gemini-pool: the quota for" in error.message, error)
check("every key rests: when to come back", int(error.response.headers["retry-after"]) > 0, error)

error = raised(openai.RateLimitError, lambda: ask(client(url=LIMITED_POOL_URL)))
check("the client key's limit", error.status_code == 429 and error.code == "rate_limit_exceeded", error)
check("the client key's limit: message", "this client key has sent 1 request today" in error.message, error)
