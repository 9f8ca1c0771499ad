"""Google's own SDK for Python makes a video, and finds it after a restart of the pool. Only older ones know how to ask."""

from google import genai
from google.genai import errors, types

from checks import CLIENT_KEY, OTHER_CLIENT_KEY, POOL_URL, check, hand_over, handed_over, raised, until

MODEL = "veo-3.0-fast-generate-001"


def client(key):
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=POOL_URL))


pool, other = client(CLIENT_KEY), client(OTHER_CLIENT_KEY)


def download(operation):
    done = until("video: done", lambda: pool.operations.get(operation), lambda operation: operation.done)
    video = done.response.generated_videos[0].video
    told = pool.files.download(file=video)
    check("video: downloaded", told[4:8] == b"ftyp", told[:40])
    return video


def check_foreign(name, act):
    """To another client it is as if it did not exist."""
    error = raised(errors.ClientError, act)
    check(f"{name}: not another client's", error.code == 404, error)


def look(operation):
    video = download(operation)
    check_foreign("video", lambda: other.operations.get(operation))
    check_foreign("video: download", lambda: other.files.download(file=types.Video(uri=video.uri)))


name = handed_over()
if name is None:
    operation = pool.models.generate_videos(model=MODEL, prompt="Waves at a lighthouse.")
    look(operation)
    hand_over(operation.name)
else:
    look(types.GenerateVideosOperation(name=name))
    files = [file.name for file in pool.files.list()]
    check("list of files", len(files) == 1, files)
    pool.files.delete(name=files[0])
    check("nothing is left", not list(pool.files.list()))
