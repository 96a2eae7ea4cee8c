"""A crash campaign: clients publish and receive without rest while processes are killed, and
everything that was acknowledged must be there in the end, as often as its QoS says."""
import os
import random
import signal
import time

from . import mqtt_packets as mqtt
from . import processes
from .durable_client import DurableClient

RETAINED_TOPICS = 40
SETTLE_SECONDS = 60


class Counter:
    """Numbers for the topics in turn: what a publisher produces."""

    def __init__(self, topics):
        self.topics = topics
        self.turn = 0
        self.last = dict.fromkeys(topics, 0)

    def __call__(self):
        topic = self.topics[self.turn % len(self.topics)]
        self.turn += 1
        self.last[topic] += 1
        return topic, self.last[topic]


class Inbox:
    """The numbers that came on each topic, in their order."""

    def __init__(self, topics):
        self.received = {topic: [] for topic in topics}

    def __call__(self, topic, number):
        self.received[topic].append(number)


# Deaths come faster here than a sane broker's ever would; and a queue that is full drops messages.
OPTIONS = "crash_limit 1000\nmax_queued_messages 0\nmax_queued_bytes 0\n"
VICTIMS = ("persistd", "router", "worker", "authd", "all")  # and "power", with a volume


class Campaign:
    """Publishers of retained, QoS 1 and QoS 2 messages; of the two subscribers one is always there
    and one is away now and then."""

    def __init__(self, broker, seed, victims=VICTIMS, volume=None):
        self.broker = broker
        self.victims = victims
        self.volume = volume
        self.random = random.Random(seed)
        self.counters = {"kept": Counter([f"kept/{i}" for i in range(RETAINED_TOPICS)]),
                         "queue/1": Counter(["queue/1"]), "queue/2": Counter(["queue/2"])}
        self.inboxes = [Inbox(["queue/1", "queue/2"]) for _ in range(2)]
        self.publishers = [
            self._client("camp-kept", mqtt.V5, produce=self.counters["kept"], retain=True),
            self._client("camp-q1", mqtt.V311, produce=self.counters["queue/1"]),
            self._client("camp-q2", mqtt.V311, produce=self.counters["queue/2"], qos=2)]
        filters = [("queue/1", 1), ("queue/2", 2)]
        self.subscribers = [
            self._client("camp-stays", mqtt.V5, filters=filters, delivered=self.inboxes[0]),
            self._client("camp-leaves", mqtt.V311, filters=filters, delivered=self.inboxes[1])]

    def _client(self, name, version, **options):
        return DurableClient(self.broker.ports["tcp"], name, version, **options)

    @classmethod
    def conduct(cls, broker, kills, seed, **options):
        """All of it: the kills, and that nothing was lost by them. The broker has OPTIONS."""
        campaign = cls(broker, seed, **options)
        try:
            campaign.run(kills)
            campaign.verify(lambda: broker.connect("camp-check", mqtt.V5))
        finally:
            campaign.close()
        broker.expected = {}

    def run(self, kills):
        for client in [*self.subscribers, *self.publishers]:
            client.start()
        for number in range(kills):
            time.sleep(self.random.uniform(0.02, 0.35))
            self._kill(self.random.choice(self.victims))
            if number % 10 == 9:
                self.subscribers[1].go_away(self.random.uniform(0.1, 0.5))
            for client in [*self.subscribers, *self.publishers]:
                client.check()

    def _kill(self, victim):
        if victim == "power":
            self._cut_power()
        if victim in ("all", "power") or self.broker.process.poll() is not None:
            self._restart()
            return
        pids = self.broker.pids(victim)
        if pids:
            self.broker.kill_process(victim, pid=self.random.choice(pids))

    def _cut_power(self):
        """Processor and disk go at the same moment: what a process is told of a disk whose power is
        gone (ext4 may say of a commit under way that it succeeded) is never passed on."""
        pids = [self.broker.process.pid, *self.broker.children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        processes.wait_until(lambda: all(processes.is_halted(pid) for pid in pids), 10,
                             "all threads to halt")
        self.volume.cut()

    def _restart(self):
        """The whole broker at once, as a power cut would. The master is stopped first, so that it
        makes no child that this does not see."""
        self.broker.expected = {}
        if self.broker.process.poll() is None:
            os.kill(self.broker.process.pid, signal.SIGSTOP)
            children = list(self.broker.children())
            for pid in [self.broker.process.pid, *children]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.broker.process.wait(10)
            processes.wait_until(lambda: not any(processes.alive(p) for p in children), 10,
                                 "the children to end")
        if self.volume:
            self.volume.repair()
        self.broker.start()
        self.broker.expected = {}

    # -- what must be true in the end

    def verify(self, fresh_client):
        """fresh_client(): a connected client of the test library."""
        if self.broker.process.poll() is not None:
            self._restart()
        for client in self.publishers:
            client.producing.clear()
            self._wait(lambda c=client: not c.under_way, client, "all to be acknowledged")
        for client, inbox in zip(self.subscribers, self.inboxes):
            for topic in ("queue/1", "queue/2"):
                self._verify_queue(topic, client, inbox.received[topic])
        self._verify_retained(fresh_client())

    def _wait(self, condition, client, what):
        end = time.monotonic() + SETTLE_SECONDS
        while not condition():
            client.check()
            if time.monotonic() > end:
                status = self.broker.ctl("-s", self.broker.control_socket, "--json", "status",
                                         check=False)
                what = what if isinstance(what, str) else what()
                raise AssertionError(f"waited {SETTLE_SECONDS} s for {what}; {client.story()}\n"
                                     f"{status.stdout}{status.stderr}\n{self.broker.log()[-4000:]}")
            time.sleep(0.02)

    def _verify_queue(self, topic, client, received):
        """Nothing is missing and the order is kept; QoS 2 has nothing twice."""
        last = self.counters[topic].last[topic]
        self._wait(lambda: len(set(received)) >= last, client,
                   lambda: f"{sorted(set(range(1, last + 1)) - set(received))[:20]} on {topic}")
        once = list(dict.fromkeys(received)) if topic == "queue/1" else received
        assert once == list(range(1, last + 1)), \
            f"{topic}: twice or out of order near {mismatch(once)}; {client.story()}"

    def _verify_retained(self, client):
        wanted = self.counters["kept"].last
        client.subscribe(("kept/#", 0))
        found = {}
        for _ in wanted:
            packet = client.receive()
            found[packet.topic] = int(packet.payload)
        assert found == wanted

    def close(self):
        for client in [*self.publishers, *self.subscribers]:
            client.close()


def mismatch(received):
    """The numbers around the first one that is not in its place."""
    at = next(i for i, number in enumerate(received) if number != i + 1)
    return received[max(at - 5, 0):at + 15]
