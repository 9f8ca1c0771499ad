"""Live sessions of Google's own SDK for Python through a pool, over TLS: it knows no other way."""

import asyncio

from google import genai
from google.genai import errors, types
from websockets import exceptions

from checks import CLIENT_KEY, MISSING_MODEL, POOL_URL, QUESTION, WRONG_KEY, check

MODEL = "gemini-2.5-flash-native-audio-preview-09-2025"


def connect(model=MODEL, key=CLIENT_KEY, **config):
    client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=POOL_URL))
    config = {"response_modalities": ["AUDIO"], "output_audio_transcription": {}, **config}
    return client.aio.live.connect(model=model, config=config)


async def ask(session):
    turn = types.Content(role="user", parts=[types.Part(text=QUESTION)])
    await session.send_client_content(turns=turn, turn_complete=True)


async def turn(session):
    """All messages of one turn."""
    return [message async for message in session.receive()]


async def refused(kinds, **terms):
    """Why a session is not opened."""
    try:
        async with connect(**terms) as session:
            await session.receive().__anext__()
    except kinds as error:
        return error
    return None


async def main():
    async with connect(session_resumption={}) as session:
        check("setup", session)
        await ask(session)
        messages = await turn(session)
        check("audio", any(message.data for message in messages), messages)
        contents = [message.server_content for message in messages if message.server_content]
        spoken = [content.output_transcription for content in contents if content.output_transcription]
        check("transcript", "".join(text.text for text in spoken), messages)
        check("turn", contents[-1].turn_complete, messages)
        usage = messages[-1].usage_metadata
        check("tokens", usage.total_token_count > usage.response_token_count > 0, messages[-1])
        update = (await session.receive().__anext__()).session_resumption_update
        check("handle", update.resumable and update.new_handle, update)

    async with connect(session_resumption={"handle": update.new_handle}) as session:
        check("resumed", session)
        await ask(session)
        check("resumed: turn", (await turn(session))[-1].usage_metadata)

    reading = {"name": "record_reading", "description": "Stores a value."}
    async with connect(tools=[{"function_declarations": [reading]}]) as session:
        await ask(session)
        async for message in session.receive():
            if message.tool_call:
                [call] = message.tool_call.function_calls
                check("tool call", call.name == "record_reading", call)
                answer = types.FunctionResponse(id=call.id, name=call.name, response={"output": "Recorded."})
                await session.send_tool_response(function_responses=[answer])
        check("tool call: turn", message.usage_metadata, message)

    closed = (errors.APIError, exceptions.ConnectionClosedError)
    error = await refused(closed, model=MISSING_MODEL)
    check("missing model", "1008" in str(error) and "is not found for API version" in str(error), error)

    error = await refused(exceptions.InvalidStatus, key=WRONG_KEY)
    check("wrong client key", error.response.status_code == 401, error)
    check("wrong client key: message", b"client key is not known" in error.response.body, error)


asyncio.run(main())
