"""OpenAI's SDK for Python, as it is made, streams against a pool where its client key may use 3,000 tokens a day."""

import openai

from checks import CLIENT_KEY, MODEL, POOL_URL, check

client = openai.OpenAI(api_key=CLIENT_KEY, base_url=f"{POOL_URL}/v1beta/openai/")
messages = [{"role": "user", "content": "word " * 1600}]
served = 0
try:
    for _ in range(12):
        for _ in client.chat.completions.create(model=MODEL, messages=messages, stream=True):
            pass
        served += 1
except openai.RateLimitError as error:
    check("the limit stopped it", "may use 3000" in str(error), error)
check("within one request of the limit", served == 2, served)
