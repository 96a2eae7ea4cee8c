"""What was acknowledged survives any crash: processes are killed under load, over and over."""
import pytest

from lib import mqtt_packets as mqtt
from lib.campaign import Campaign

# Deaths come faster here than a sane broker's ever would; and a queue that is full drops messages.
OPTIONS = "crash_limit 1000\nmax_queued_messages 0\nmax_queued_bytes 0"


def campaign(new_broker, kills, seed):
    broker = new_broker(options=OPTIONS)
    broker.allowed_alarms = []
    crashes = Campaign(broker, seed)
    try:
        crashes.run(kills)
        crashes.verify(lambda: broker.connect("camp-check", mqtt.V5))
    finally:
        crashes.close()
    broker.expected = {}


@pytest.mark.timeout(300)
def test_kills_under_load(new_broker, build):
    campaign(new_broker, 200 if build == "release" else 20, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_kills_under_load(new_broker, seed):
    campaign(new_broker, 300, seed)
