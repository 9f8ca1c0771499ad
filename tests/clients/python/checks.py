"""What the scripts share: where the pools are, and how a check is made."""

import os
import sys

# A pool whose keys are well, one whose only key rests, and one where the client key has used up its day.
POOL_URL = os.environ["POOL_URL"]
RESTING_POOL_URL = os.environ.get("RESTING_POOL_URL")
LIMITED_POOL_URL = os.environ.get("LIMITED_POOL_URL")
CLIENT_KEY = os.environ["CLIENT_KEY"]
WRONG_KEY = "not-a-client-key"

MODEL = "gemini-2.5-flash"
MISSING_MODEL = "there-is-no-such-model"
EMBEDDING_MODEL = "gemini-embedding-001"
QUESTION = "Why is the sky blue?"


def check(name, passed, seen=None):
    """Prints a line for a check that passed; ends the script at one that did not."""
    if not passed:
        sys.exit(f"FAILED {name}: {seen!r}")
    print(f"ok {name}", flush=True)


def raised(kind, act):
    """The error of this kind that `act` raises; another one, or none, ends the script."""
    try:
        answer = act()
    except kind as error:
        return error
    sys.exit(f"FAILED: {kind.__name__} was not raised, but {answer!r} came")
