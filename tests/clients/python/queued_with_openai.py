"""OpenAI's SDK for Python, as it is made, against a pool where its client key has used up its minute."""

import openai

from checks import CLIENT_KEY, MODEL, POOL_URL, QUESTION, check

client = openai.OpenAI(api_key=CLIENT_KEY, base_url=f"{POOL_URL}/v1beta/openai/")
messages = [{"role": "user", "content": QUESTION}]
answer = client.chat.completions.create(model=MODEL, messages=messages)
check("it waited and was served", answer.choices[0].message.content, answer)
