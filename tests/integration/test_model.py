"""A random model test: thousands of random steps of several clients, compared message by message
with a reference model (lib/model.py), for some seconds in every run of the tests and for 100,000
steps in a long one. BULKHEAD_MODEL_SEED=N draws the same steps again, as a failure says; which
member of a group gets a message may differ, and what is drawn depends on what has come, so a seed
is a good start and no proof. A failure also tells a short story, which does repeat."""
import os
import random
import time

import pytest

from lib.model import Difference
from lib.model_run import CONFIG, Run
from lib.model_steps import Steps

FIXED = 20260704
SECONDS = 20         # of random steps in a short run
LONG_STEPS = 100000
SHRINK_SECONDS = 60
STORY = 60           # steps of a story that are printed


def seeds():
    given = os.environ.get("BULKHEAD_MODEL_SEED")
    return [int(given)] if given else [FIXED, random.SystemRandom().randrange(1 << 32)]


def play(broker, steps):
    """Takes the steps once more; returns what goes wrong, or None, and those that had a sense."""
    run = Run(broker, patience=1)
    try:
        run.open()
        for step in steps:
            run.step(step)
        run.flush()
    except Difference as error:
        return f"{run.at}: {error}", run.done
    finally:
        run.close()
    return None, steps


def shrink(new_broker, steps, options):
    """The shortest story that a minute finds: parts are left out as long as something goes wrong."""
    end = time.monotonic() + SHRINK_SECONDS
    broker = new_broker(config=CONFIG.replace("{persistence}", options))
    problem, size = None, len(steps)
    while size > 0 and time.monotonic() < end:
        size = min(size, max(1, len(steps) // 2))
        at = 0
        while at < len(steps) and time.monotonic() < end:
            shorter = steps[:at] + steps[at + size:]
            found, taken = play(broker, shorter)
            if found:
                steps, problem = taken, found
            else:
                at += size
        size //= 2
    return steps, problem


def tell(steps, parties):
    return "\n".join(f"  {parties[number]} {verb} {arguments}" + " (in the same burst)" * glued
                     for number, verb, arguments, glued in steps[-STORY:])


def campaign(new_broker, seed, persistence, steps=None, seconds=None):
    """Random steps until the count or the time is reached; returns how many."""
    print(f"seed {seed}")
    broker = new_broker(config=CONFIG.replace("{persistence}", persistence))
    run = Run(broker)
    source = Steps(random.Random(seed), run)
    end = time.monotonic() + seconds if seconds else None
    try:
        run.open()
        while (steps is None or len(run.done) < steps) and (end is None or time.monotonic() < end):
            run.step(source.next())
        run.flush()
    except Difference as error:
        trace = "\n  ".join(line for line in (run.at.client.trace if run.at.client else ())
                            if " a2" not in line and "packet_id=65000" not in line)
        done = run.done
        run.close()
        story, problem = shrink(new_broker, done, persistence)
        pytest.fail(f"seed {seed}, step {len(done)}, client {run.at}: {error}\n"
                    f"its last packets:\n  {trace}\n"
                    f"{len(story)} steps are enough for: {problem or 'nothing, when repeated'}\n"
                    + tell(story, run.parties), pytrace=False)
    run.close()
    return len(run.done)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("persistence", ["true", "false"])
def test_random_steps(new_broker, persistence):
    """A fixed seed with a store, and one that is new each time without."""
    seed = seeds()[0 if persistence == "true" else -1]
    assert campaign(new_broker, seed, persistence, seconds=SECONDS) > 100


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("persistence", ["true", "false"])
def test_many_random_steps(new_broker, persistence):
    for seed in seeds():
        started = time.monotonic()
        count = campaign(new_broker, seed, persistence, steps=LONG_STEPS)
        print(f"{count} steps in {time.monotonic() - started:.0f} s")
