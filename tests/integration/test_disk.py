"""Disks that run full, fail and lose power, under a real broker."""
import os
import shutil
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.campaign import OPTIONS, Campaign
from lib.processes import wait_until
from lib.volume import PowerVolume, SmallVolume

PAYLOAD = 20_000
QUIET_SECONDS = 5  # longer than a commit may last before it is reported


@pytest.fixture
def volumes():
    made = []
    yield made
    for volume in made:
        volume.close()
        shutil.rmtree(volume.directory.parent, ignore_errors=True)


@pytest.fixture
def on_volume(volumes, new_broker):
    """Makes a broker whose data directory is a volume of its own; it is gone before the volume."""
    def make(kind, *arguments, **options):
        broker = new_broker(started=False, **options)
        volume = kind(broker.data, *(argument.format(dir=broker.folder)
                                     if isinstance(argument, str) else argument
                                     for argument in arguments))
        volumes.append(volume)
        broker.allowed_alarms = []
        return broker.start(), volume
    return make


class Flood:
    """Retained messages of random bytes, one topic after the other, until no more are accepted."""

    WINDOW = 10

    def __init__(self, client):
        self.client = client
        self.under_way = {}
        self.accepted = {}

    def run(self, volume):
        """Until nothing is acknowledged any more, on a volume that is full and stays so."""
        number, last = 0, time.monotonic()
        while time.monotonic() < last + QUIET_SECONDS:
            while len(self.under_way) < self.WINDOW:
                number += 1
                topic, payload = f"flood/{number}", os.urandom(PAYLOAD)
                packet_id = self.client.send_publish(topic, payload, qos=1, retain=True)
                self.under_way[packet_id] = (topic, payload)
            volume.fill()
            if self.take(0.05):
                last = time.monotonic()

    def take(self, seconds):
        """Acknowledgements as they come; returns how many there were."""
        count = 0
        try:
            while True:
                packet = self.client.next_packet(seconds)
                assert packet.kind == mqtt.PUBACK and packet.reason in (0, 0x10), packet
                topic, payload = self.under_way.pop(packet.packet_id)
                self.accepted[topic] = payload
                count += 1
        except TimeoutError:
            return count


def kill_everything(broker):
    os.kill(broker.process.pid, 19)  # the master first: it makes no child that is not seen
    broker.expected = {}
    for pid in [*broker.children(), broker.process.pid]:
        os.kill(pid, 9)
    broker.wait_for_exit()


def said(broker, text):
    return any(text in line for line in list(broker.lines))


def test_a_full_disk(on_volume):
    """No acknowledgement for what is not kept, the operator is told at once, QoS 0 goes on, and so
    does everything by itself when there is space again."""
    broker, volume = on_volume(SmallVolume, 32, options="store_memory 1M")
    reader = broker.connect("reader")
    reader.subscribe(("live/#", 0))
    flood = Flood(broker.connect("flood"))
    flood.run(volume)
    broker.wait_for_log("the store does not take writes")
    before = dict(flood.accepted)
    broker.connect("sender").publish("live/1", "x")
    reader.receive("live/1", "x")
    health = broker.ctl("-s", broker.control_socket, "health", check=False)
    assert health.returncode == 1
    backup = broker.ctl("-s", broker.control_socket, "backup", broker.folder / "no", check=False)
    assert backup.returncode == 1 and "not complete" in backup.stderr
    assert "Success" not in backup.stderr and not (broker.folder / "no").exists()
    volume.make_room()
    wait_until(lambda: flood.take(0.1) is not None and not flood.under_way, 40,
               "what waited to be acknowledged")
    broker.wait_for_log("the store takes writes again")
    assert len(flood.accepted) > len(before)
    broker.ctl("-s", broker.control_socket, "health")
    kill_everything(broker)
    broker.start()
    check = broker.connect("check")
    check.subscribe(("flood/#", 1))
    found = {packet.topic: packet.payload for packet in check.receive_all(len(flood.accepted))}
    assert found == flood.accepted


def test_a_router_that_dies_while_the_disk_is_full(on_volume):
    """Nothing gets into a circle of deaths: the state is loaded when the disk lets it."""
    broker, volume = on_volume(SmallVolume, 32, options="store_memory 1M")
    flood = Flood(broker.connect("flood"))
    flood.run(volume)
    broker.kill_process("router")
    broker.wait_for_log("trying again until it can")
    volume.make_room()
    wait_until(lambda: len(broker.pids("router")) == 1 and said(broker, "records loaded"), 30,
               "the new router to load")
    broker.adopt()
    check = broker.connect("check")
    check.subscribe(("flood/#", 1))
    found = {packet.topic: packet.payload for packet in check.receive_all(len(flood.accepted))}
    assert flood.accepted.items() <= found.items()


def test_a_disk_that_fails(on_volume):
    """Every write and sync fails: the same, until the machine was started again."""
    broker, volume = on_volume(PowerVolume, "{dir}/image")
    reader = broker.connect("reader")
    reader.subscribe(("live/#", 0))
    sender = broker.connect("sender")
    sender.publish("kept", "before", qos=1, retain=True)
    volume.cut()
    sender.send_publish("kept", "after", qos=1, retain=True)
    assert "nput/output error" in broker.wait_for_log("the store does not take writes")
    with pytest.raises(TimeoutError):
        sender.next_packet(1)
    broker.connect("other").publish("live/1", "x")
    reader.receive("live/1", "x")
    kill_everything(broker)
    volume.repair()
    broker.start()
    check = broker.connect("check")
    check.subscribe(("kept", 0))
    check.receive("kept", "before", retain=True)


def power_cuts(on_volume, cuts, seed):
    broker, volume = on_volume(PowerVolume, "{dir}/image", options=OPTIONS + "store_memory 1M")
    Campaign.conduct(broker, cuts, seed, victims=("power",), volume=volume)


@pytest.mark.timeout(240)
def test_power_cuts_under_load(on_volume, build):
    """What was not synced is really gone; what was acknowledged is there."""
    power_cuts(on_volume, 12 if build == "release" else 4, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2, 12))
def test_many_power_cuts_under_load(on_volume, seed):
    power_cuts(on_volume, 200, seed)
