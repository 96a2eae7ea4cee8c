"""A crash campaign: clients publish and receive without rest while processes are killed, and
everything that was acknowledged must be there in the end."""
import os
import random
import signal
import threading
import time

import paho.mqtt.client as paho

from . import processes

RETAINED_TOPICS = 40
WINDOW = 20
PAUSE = 0.004  # between two messages of a publisher


class Publisher:
    """Publishes numbered messages through a client that connects again by itself. acknowledged[t]
    is the last number on topic t that the broker took responsibility for."""

    def __init__(self, port, name, qos, topics, retain):
        self.topics = topics
        self.qos = qos
        self.retain = retain
        self.sent = dict.fromkeys(topics, 0)
        self.acknowledged = dict.fromkeys(topics, 0)
        self.under_way = {}
        self.confirmed = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.client = paho.Client(client_id=name, clean_session=False)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.reconnect_delay_set(0.05, 0.3)
        self.client.on_publish = self._on_publish
        self.client.connect("127.0.0.1", port, keepalive=20)
        self.client.loop_start()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        turn = 0
        while not self.stopping.is_set():
            if len(self.under_way) < WINDOW:
                topic = self.topics[turn % len(self.topics)]
                turn += 1
                self.sent[topic] += 1
                # paho calls _on_publish with a lock of its own held, which publish() takes too:
                # ours must be free here, and the acknowledgement may be seen before the number.
                info = self.client.publish(topic, str(self.sent[topic]), self.qos, self.retain)
                with self.lock:
                    self.under_way[info.mid] = (topic, self.sent[topic])
                    self._settle()
            time.sleep(PAUSE)

    def _on_publish(self, _client, _userdata, mid):
        with self.lock:
            self.confirmed.add(mid)
            self._settle()

    def _settle(self):
        for mid in self.confirmed & self.under_way.keys():
            self.confirmed.discard(mid)
            topic, number = self.under_way.pop(mid)
            self.acknowledged[topic] = max(self.acknowledged[topic], number)

    def finish(self, timeout):
        """Stops publishing and waits until all is acknowledged."""
        self.stopping.set()
        self.thread.join(10)
        processes.wait_until(lambda: not self.under_way, timeout,
                             f"the rest of {self.topics[0]} to be acknowledged")

    def close(self):
        self.stopping.set()
        self.client.disconnect()
        self.client.loop_stop()


class Subscriber:
    """A durable subscriber that is away now and then. received[t] lists the numbers as they came."""

    def __init__(self, port, name, filters):
        self.received = {topic: [] for topic, _ in filters}
        self.granted = threading.Event()
        self.client = paho.Client(client_id=name, clean_session=False)
        self.client.reconnect_delay_set(0.05, 0.3)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self.granted.set()
        self.client.connect("127.0.0.1", port, keepalive=20)
        self.client.loop_start()
        self.client.subscribe(filters)
        assert self.granted.wait(10), "the durable subscriber got no SUBACK"

    def _on_message(self, _client, _userdata, message):
        self.received[message.topic].append(int(message.payload))

    def away(self, seconds):
        self.close()
        time.sleep(seconds)
        processes.wait_until(self._back, 20, "the subscriber to come back", step=0.1)
        self.client.loop_start()

    def _back(self):
        try:
            self.client.reconnect()
            return True
        except OSError:
            return False

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


VICTIMS = ("persistd", "router", "worker", "authd", "all")


class Campaign:
    def __init__(self, broker, seed):
        self.broker = broker
        self.random = random.Random(seed)
        port = broker.ports["tcp"]
        self.subscriber = Subscriber(port, "camp-sub", [("queue/1", 1), ("queue/2", 2)])
        self.publishers = [
            Publisher(port, "camp-ret", 1, [f"kept/{i}" for i in range(RETAINED_TOPICS)], True),
            Publisher(port, "camp-q1", 1, ["queue/1"], False),
            Publisher(port, "camp-q2", 2, ["queue/2"], False),
        ]

    def run(self, kills):
        for number in range(kills):
            time.sleep(self.random.uniform(0.02, 0.35))
            self._kill(self.random.choice(VICTIMS))
            if number % 10 == 9:
                self.subscriber.away(self.random.uniform(0.1, 0.5))

    def _kill(self, victim):
        if victim == "all" or self.broker.process.poll() is not None:
            self._restart()
            return
        pids = self.broker.pids(victim)
        if pids:
            self.broker.kill_process(victim, pid=self.random.choice(pids))

    def _restart(self):
        """The whole broker at once, as a power cut would; children die with their master."""
        self.broker.expected = {}
        if self.broker.process.poll() is None:
            children = list(self.broker.children())
            for pid in [self.broker.process.pid, *children]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.broker.process.wait(10)
            processes.wait_until(lambda: not any(processes.alive(p) for p in children), 10,
                                 "the children to end")
        self.broker.start()
        self.broker.expected = {}

    def verify(self, fresh_client):
        """Everything acknowledged is there. fresh_client(): a connected client of the test library."""
        if self.broker.process.poll() is not None:
            self._restart()
        for publisher in self.publishers:
            publisher.finish(60)
        self._verify_queue("queue/1", self.publishers[1])
        self._verify_queue("queue/2", self.publishers[2])
        self._verify_retained(fresh_client())

    def _verify_queue(self, topic, publisher):
        """Nothing is missing. That QoS 2 delivers once cannot be asked here: this client publishes a
        message anew when two connections in a row fail after its PUBREL."""
        got = self.subscriber.received[topic]
        last = publisher.acknowledged[topic]
        processes.wait_until(lambda: set(range(1, last + 1)) <= set(got), 60,
                             f"{topic}: missing {sorted(set(range(1, last + 1)) - set(got))[:10]} "
                             f"of {last}")

    def _verify_retained(self, client):
        publisher = self.publishers[0]
        client.subscribe(("kept/#", 0))
        found = {}
        for _ in publisher.topics:
            packet = client.receive()
            found[packet.topic] = int(packet.payload)
        for topic in publisher.topics:
            assert publisher.acknowledged[topic] <= found.get(topic, 0) <= publisher.sent[topic], \
                f"{topic}: {found.get(topic)}, acknowledged {publisher.acknowledged[topic]}"

    def close(self):
        for client in [self.subscriber, *self.publishers]:
            client.close()
