"""What the scripts share: where the pools are, and how a check is made."""

import json
import os
import sys
import time

# A pool whose keys are well, one whose only key rests, and one where the client key has used up its day.
POOL_URL = os.environ["POOL_URL"]
RESTING_POOL_URL = os.environ.get("RESTING_POOL_URL")
LIMITED_POOL_URL = os.environ.get("LIMITED_POOL_URL")
CLIENT_KEY = os.environ["CLIENT_KEY"]
OTHER_CLIENT_KEY = os.environ.get("OTHER_CLIENT_KEY")
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


def hand_over(state):
    """Ends the first run of a script that goes on, with this, in a second one."""
    print(f"state {json.dumps(state)}", flush=True)


def handed_over():
    """What the first run of the script has handed over; nothing in the first run."""
    return json.loads(sys.argv[1]) if len(sys.argv) > 1 else None


def until(name, look, is_done):
    """Looks at work until it is done, and returns how it then looks."""
    for _ in range(100):
        seen = look()
        if is_done(seen):
            print(f"ok {name}", flush=True)
            return seen
        time.sleep(0.05)
    sys.exit(f"FAILED {name}: {seen!r}")
