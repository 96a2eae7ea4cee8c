"""Runs random steps against a broker and the model at once, and compares what every client sees.

A step is (party, verb, arguments, glued). Steps of one party that are glued together go out in one
write. After each such burst every client makes a round trip through the router, so that all that
the burst has caused is there; the connections that ended are waited for likewise, by a client of
each worker that does nothing else. A run is therefore exact, and its steps can be given again.
"""
import itertools
import time

from . import mqtt_packets as mqtt
from .model import RELEASED, SENT, Difference, Link, Message, Model, Subscription, Will
from .model_steps import IN_BURST
from .transport import StreamClosed

BARRIER, FIRST_SUBSCRIBE = 65000, 60000
PATIENCE = 20  # seconds for what must come
MAX_INFLIGHT, RECEIVE_MAXIMUM = 6, 8
TIMES_UP = 2.3  # for what lasts a second
PAD = b"." * 1200

CONFIG = """\
allow_anonymous true
persistence {persistence}
persistence_location {dir}/data/
key_file {dir}/bulkhead.key
control_socket {dir}/control.sock
max_inflight_messages %d
receive_maximum %d
sys_interval 0
connection_messages false
audit false
listener {tcp} 127.0.0.1
workers 2
listener {ws} 127.0.0.1
protocol websockets
workers 1
""" % (MAX_INFLIGHT, RECEIVE_MAXIMUM)


class Party:
    """A client program with what it knows."""

    def __init__(self, user, client_id, version):
        self.user, self.client_id, self.version = user, client_id, version
        self.key = (user or "", client_id)
        self.client = None
        self.subscribes = itertools.count(FIRST_SUBSCRIBE)
        self.out = {}       # packet id: (message, state) of what it has published
        self.aliases = {}   # the broker's, of this connection
        self.known = {}     # our own: topic: alias

    def __str__(self):
        return f"{self.user or ''}/{self.client_id}({self.version})"


def parties():
    return [Party(None, "a", 5), Party(None, "b", 5), Party(None, "c", 4), Party("u", "a", 5),
            Party("u", "c", 4), Party(None, "d", 3), Party(None, "e", 5)]


class Run:
    """One run on a running broker. Every client starts without a session."""

    def __init__(self, broker, patience=PATIENCE):
        self.broker = broker
        self.patience = patience
        self.model = Model()
        self.parties = parties()
        self.sentinels = []
        self.keeper = None  # a client whose session is stored
        self.numbers = itertools.count(1)
        self.burst = None   # the party whose steps are not sent yet
        self.bytes = []
        self.done = []      # steps that were not without effect
        self.at = None      # the client that is looked at

    # -- what the steps are made from

    def session(self, party):
        return self.model.sessions.get(party.key)

    # -- life

    def open(self):
        """A sentinel on each worker, and no session nor retained message of another run."""
        workers = set(self.broker.pids("worker"))
        seen = {}
        for over in itertools.cycle(("tcp", "ws")):
            client = self.broker.connect(f"sentinel-{len(self.sentinels)}", over=over)
            self.sentinels.append(client)
            seen.setdefault(self.broker.worker_of(client), client)
            if set(seen) == workers:
                break
            assert len(self.sentinels) < 200, "a worker gets no connection"
        for client in self.sentinels:
            if client not in seen.values():
                client.disconnect()
        self.sentinels = list(seen.values())
        self.keeper = self.broker.connect("keeper", clean=True,
                                          properties={"session_expiry_interval": 1000})
        for party in self.parties:
            client = self.broker.client(party.client_id, party.version)
            client.connect(username=party.user, clean=True)
            client.disconnect()
        self.sync_workers()
        self.clear_retained()

    def clear_retained(self):
        client = self.sentinels[0]
        client.subscribe("#")
        for packet in client.drain():
            if packet.retain:
                client.send_publish(packet.topic, "", retain=True)
        client.drain()
        client.unsubscribe("#")

    def close(self):
        for client in [*self.sentinels, self.keeper, *(party.client for party in self.parties)]:
            if client is not None:
                client.close()
                self.forget(client)

    def forget(self, client):
        if client in self.broker.clients:
            self.broker.clients.remove(client)

    # -- steps

    def step(self, step):
        """Takes a step; one that makes no sense at this moment is left out."""
        number, verb, arguments, glued = step
        party = self.parties[number]
        if self.burst is not party or not glued or verb not in IN_BURST | {"cut"}:
            self.flush()
        if (party.client is None) != (verb in ("connect", "haunt")) and verb != "connect":
            return False
        if getattr(self, f"do_{verb}")(party, **arguments) is False:
            return False
        self.done.append(step)
        if verb in IN_BURST:
            self.burst = party
        else:
            self.settle()
        return True

    def flush(self):
        """Sends the burst, and compares."""
        if self.burst is None:
            return
        self.round_trip([self.send_burst()])  # so that all of it has been handled
        self.settle()

    def send_burst(self, more=b""):
        party, self.burst = self.burst, None
        data, self.bytes = b"".join(self.bytes) + more, []
        if data:
            party.client.send(data)
        return party

    # -- comparing

    def settle(self):
        """Every client makes a round trip, and nothing may be missing afterwards."""
        here = [party for party in self.parties if party.client is not None]
        if self.ended:
            self.sync_workers()
            self.ended = False
        end = time.monotonic() + self.patience
        self.round_trip(here)
        owed = [party for party in here if self.session(party).owed]
        self.round_trip(owed)  # retained messages come behind SUBACK, at the broker's pace
        while True:
            late = [party for party in here if self.model.missing(self.session(party))]
            shared = self.model.missing_shared()
            if not late and not shared:
                break
            if time.monotonic() > end:
                if late:
                    self.at = late[0]
                    raise Difference("missing: " + "; ".join(
                        self.model.missing(self.session(late[0]))))
                raise Difference("nobody has " + "; ".join(map(str, shared)))
            self.round_trip(here)
        self.wait_for_the_rest(here)
        for party in here:
            self.model.settled(self.session(party))
        self.model.settled_shared()
        self.model.pass_moment()

    ended = False

    def wait_for_the_rest(self, here):
        """What may come, or not, has come when it does not wait for the disk any more."""
        left = None
        while left != (left := self.model.possible(map(self.session, here))) and left:
            self.sync_disk()
            self.round_trip(here)

    def sync_disk(self):
        """Answers that wait for the disk go out in their order."""
        self.keeper.subscribe("keeper")
        self.keeper.unsubscribe("keeper")

    def round_trip(self, here):
        for party in here:
            party.client.send(mqtt.unsubscribe(BARRIER, ["barrier"], version=party.version))
        for party in here:
            self.at = party
            while True:
                packet = self.next_packet(party)
                if packet.kind == mqtt.UNSUBACK and packet.packet_id == BARRIER:
                    break
                self.take(party, packet)

    def next_packet(self, party):
        try:
            return party.client.next_packet(self.patience)
        except StreamClosed as error:
            raise Difference(f"the broker closed the connection: {error}") from error
        except (TimeoutError, mqtt.Malformed) as error:
            raise Difference(f"no packet: {error}") from error

    def sync_workers(self):
        for client in self.sentinels:
            client.unsubscribe("barrier", expect=[0x11])

    def take(self, party, packet):
        """One packet that came, but for CONNACK."""
        session = self.session(party)
        try:
            if packet.kind == mqtt.PUBLISH:
                self.resolve(party, packet)
                self.model.arrived(session, packet)
            elif packet.kind == mqtt.PUBREL:
                self.model.released(session, packet.packet_id)
            elif packet.kind == mqtt.SUBACK or packet.kind == mqtt.UNSUBACK:
                self.model.replied(session, packet.name, packet.packet_id, packet.reasons)
            else:
                self.model.replied(session, packet.name, packet.packet_id, [packet.reason])
                self.note_ack(party, session.link, packet)
        except Difference as error:
            raise Difference(f"{packet}: {error}") from error

    @staticmethod
    def resolve(party, packet):
        alias = packet.properties.get("topic_alias")
        if alias is None:
            return
        if packet.topic:
            party.aliases[alias] = packet.topic
        elif alias not in party.aliases:
            raise Difference(f"alias {alias} was never set")
        packet.topic = party.aliases[alias]

    @staticmethod
    def note_ack(party, link, packet):
        """What the publisher's program makes of an answer."""
        number = packet.packet_id
        if packet.kind != mqtt.PUBREC or packet.reason >= 0x80:
            link.counted.discard(number)
        if number not in party.out:
            return
        message, _ = party.out[number]
        if packet.kind == mqtt.PUBREC and packet.reason < 0x80:
            party.out[number] = (message, "received")
        else:
            del party.out[number]

    # -- connections

    def do_connect(self, party, *, clean, expiry, receive_maximum, small, aliases, over, will, reset):
        session = self.session(party)
        will = self.make_will(will, party)
        old = party.client
        if old is not None and reset:
            old.transport.reset()
        party.client = self.broker.client(party.client_id, party.version, over)
        party.aliases, party.known = {}, {}
        properties = {}
        window = MAX_INFLIGHT
        if party.version == 5:
            if receive_maximum:
                properties["receive_maximum"] = receive_maximum
                window = min(window, receive_maximum)
            if aliases:
                properties["topic_alias_maximum"] = aliases
            if small:
                properties["maximum_packet_size"] = 1000
            if expiry:
                properties["session_expiry_interval"] = expiry
        else:
            small, expiry = False, 0 if clean else 0xffffffff
        packet_will = will and mqtt.Will(
            will.message.topic, will.message.payload, will.message.qos, will.message.retain,
            {**will.message.properties, **({"will_delay_interval": will.delay} if will.delay else {})}
            if party.version == 5 else None)
        party.client.send(mqtt.connect(party.client_id, party.version, clean=clean, will=packet_will,
                                       username=party.user, properties_=properties or None))
        link = Link(window, small)
        present = self.model.connect(party.key, party.version, clean=clean, expiry=expiry,
                                     link=link, will=will)
        self.at = party
        connack = self.next_packet(party)
        if connack.kind != mqtt.CONNACK or connack.reason or \
                connack.session_present != (present and party.version > 3):
            raise Difference(f"{connack}: it should be CONNACK with session_present={present}")
        if not present:
            party.out.clear()
        if old is not None and not reset:
            self.expect_end(old, party, 0x8e)
        if old is not None:
            self.forget(old)
        return session is not None or None

    def make_will(self, fields, party):
        if fields is None:
            return None
        delay = fields["delay"] if party.version == 5 else 0
        return Will(self.make_message(party, fields["topic"], fields["qos"], fields["retain"]), delay)

    def expect_end(self, client, party, reason):
        """The broker closes it; before that it tells a client of MQTT 5 why."""
        said = None
        try:
            while True:
                packet = client.next_packet(self.patience)
                if packet.kind != mqtt.DISCONNECT or said is not None:
                    raise Difference(f"{packet} on a connection that was to end")
                said = packet
        except StreamClosed:
            pass
        except TimeoutError:
            raise Difference("the broker keeps a connection that was to end") from None
        finally:
            client.close()
        if party.version == 5 and (said is None or said.reason != reason):
            raise Difference(f"a connection ended with {said}, not with 0x{reason:02x}")

    def end(self, party, *, orderly=False, dirty=False, expiry=None):
        """The connection is being closed: waits for that, and tells the model."""
        client, party.client = party.client, None
        self.at = party
        try:
            while True:
                packet = client.next_packet(self.patience)
                if not (packet.kind == mqtt.UNSUBACK and packet.packet_id == BARRIER):
                    self.take(party, packet)
        except StreamClosed:
            pass
        except TimeoutError:
            raise Difference("the broker does not close the connection") from None
        finally:
            client.close()
            self.forget(client)
        session = self.session(party)
        if expiry is not None:
            session.expiry = expiry
        self.model.gone(session, orderly=orderly, dirty=dirty)
        self.ended = True

    def do_disconnect(self, party, *, keep_will, expiry):
        session = self.session(party)
        properties = None
        if party.version < 5:
            keep_will = False
        elif expiry is not None and session.expiry:
            properties = {"session_expiry_interval": expiry}
        expiry = expiry if properties else None
        reason = 4 if keep_will else 0 if properties else None
        party.client.send(mqtt.disconnect(reason, properties))
        self.end(party, orderly=not keep_will, expiry=expiry)

    def do_cut(self, party, *, partial):
        """Without DISCONNECT; glued to a burst, while its answers are under way."""
        more = mqtt.publish("a/b", "never", qos=1, packet_id=9, version=party.version)[:-2] \
            if partial else b""
        dirty = self.burst is party
        if dirty:
            self.send_burst(more)
        elif more:
            party.client.send(more)
        party.client.transport.socket.shutdown(1)
        self.end(party, dirty=dirty)

    def do_break(self, party):
        """A second CONNECT, which is a protocol error."""
        party.client.send(mqtt.connect(party.client_id, party.version, username=party.user))
        client, party.client = party.client, None
        self.expect_end(client, party, 0x82)
        self.forget(client)
        self.model.gone(self.session(party))
        self.ended = True

    # -- time

    def do_vanish(self, party, *, keep_will):
        """The session ends by itself a second after its connection."""
        session = self.session(party)
        if party.version < 5 or session.expiry == 0 or \
                (keep_will and session.will is not None and session.will.delay == 1):
            return False
        self.do_disconnect(party, keep_will=keep_will, expiry=1)
        self.settle()
        time.sleep(TIMES_UP)
        self.model.end(session)
        self.ended = True
        return None

    def do_haunt(self, party, *, topic, qos):
        """A will with a delay, which passes."""
        if party.version < 5:
            return False
        self.do_connect(party, clean=False, expiry=1000, receive_maximum=None, small=False,
                        aliases=0, over="tcp", reset=False,
                        will={"topic": topic, "qos": qos, "retain": False, "delay": 1})
        self.settle()
        self.do_cut(party, partial=False)
        self.settle()
        time.sleep(TIMES_UP)
        self.model.fire(self.session(party))
        self.ended = True
        return None

    def do_outdate(self, party, *, topics):
        """Messages that last a second, kept and waiting, are not there any more."""
        if party.version < 5:
            return False
        messages = []
        for topic, qos, retain in topics:
            message = self.make_message(party, topic, min(qos, 1), retain)
            message.expiry = 1
            if self.publish(party, message):
                messages.append(message)
        self.burst = party
        self.flush()
        time.sleep(TIMES_UP)
        self.model.pass_moment()  # nobody was sent anything
        for message in messages:
            self.model.expire(message)
        return None

    # -- publishing

    def make_message(self, party, topic, qos, retain, *, empty=False, large=False, properties=None,
                     expiry=None):
        payload = b"" if empty else b"m%d" % next(self.numbers) + (PAD if large else b"")
        large = large and not empty
        if party.version < 5:
            properties, expiry = None, None
        return Message(topic, payload, qos, retain, properties or {}, expiry, large)

    @staticmethod
    def free_id(party):
        return next(number for number in range(1, 100) if number not in party.out)

    def publish(self, party, message, alias=False):
        """Puts a PUBLISH into the burst; False when the window has no room for it."""
        session, link = self.session(party), self.session(party).link
        number = None
        if message.qos:
            if party.version == 5 and len(link.counted) >= RECEIVE_MAXIMUM:
                return False
            number = self.free_id(party)
            party.out[number] = (message, "sent")
        properties = dict(message.properties)
        if message.expiry is not None:
            properties["message_expiry_interval"] = message.expiry
        topic = message.topic
        if alias and party.version == 5:
            if topic in party.known:
                topic, properties["topic_alias"] = "", party.known[topic]
            elif len(party.known) < 10:
                properties["topic_alias"] = party.known[topic] = len(party.known) + 1
        self.bytes.append(mqtt.publish(topic, message.payload, qos=message.qos, packet_id=number,
                                       retain=message.retain, version=party.version,
                                       properties_=properties))
        reason = self.model.publish(message, session)
        self.expect_taken(party, session, number, message, reason)
        return True

    @staticmethod
    def expect_taken(party, session, number, message, reason):
        """The answer to a PUBLISH that the broker has not seen before."""
        if message.qos == 0:
            return
        session.link.expect("PUBACK" if message.qos == 1 else "PUBREC", number,
                            [reason if party.version == 5 else 0])
        if message.qos == 2 and (reason < 0x80 or party.version < 5):
            session.received.add(number)
        session.link.counted.add(number)

    def do_publish(self, party, *, topic, qos, retain, empty, large, properties, expiry, alias):
        message = self.make_message(party, topic, qos, retain, empty=empty, large=large,
                                    properties=properties, expiry=expiry)
        return None if self.publish(party, message, alias) else False

    def do_flood(self, party):
        """Exceeds Receive Maximum by one: never PUBREL."""
        session = self.session(party)
        if party.version < 5 or session.link.inexact:
            return False
        while len(session.link.counted) < RECEIVE_MAXIMUM:
            self.publish(party, self.make_message(party, "b", 2, False))
        self.burst = party
        self.flush()
        party.client.send(mqtt.publish("b", "too many", qos=2, packet_id=self.free_id(party)))
        client, party.client = party.client, None
        self.expect_end(client, party, 0x93)
        self.forget(client)
        self.model.gone(session)
        self.ended = True
        return None

    def do_resend(self, party):
        """What was not acknowledged when the connection broke goes out again, in the old order."""
        session = self.session(party)
        found = False
        for number, (message, state) in list(party.out.items()):
            if state in ("received", "released"):
                found = self.release(party, number) or found
                continue
            known = message.qos == 2 and number in session.received
            if party.version == 5 and not known and len(session.link.counted) >= RECEIVE_MAXIMUM:
                continue
            found = True
            properties = dict(message.properties)
            if message.expiry is not None:
                properties["message_expiry_interval"] = message.expiry
            self.bytes.append(mqtt.publish(message.topic, message.payload, qos=message.qos,
                                           packet_id=number, retain=message.retain, dup=True,
                                           version=party.version, properties_=properties))
            if known:
                session.link.expect("PUBREC", number, [0])
                continue
            again = Message(message.topic, message.payload, message.qos, message.retain,
                            message.properties, message.expiry, message.large)
            reason = self.model.publish(again, session)
            self.expect_taken(party, session, number, message, reason)
        return None if found else False

    def release(self, party, number):
        session = self.session(party)
        known = number in session.received
        session.received.discard(number)
        session.link.inexact |= number not in session.link.counted
        self.bytes.append(mqtt.acknowledge(mqtt.PUBREL, number))
        session.link.expect("PUBCOMP", number, [0 if known or party.version < 5 else 0x92])
        party.out[number] = (party.out[number][0], "released")
        return True

    def do_release(self, party, *, index):
        ready = [number for number, (_, state) in party.out.items() if state == "received"]
        return None if ready and self.release(party, ready[index % len(ready)]) else False

    def do_repeat(self, party, *, index):
        """PUBLISH for a QoS 2 message whose id the broker has: it is not taken twice."""
        ready = [number for number, (_, state) in party.out.items()
                 if state == "received" and number in self.session(party).received]
        if not ready:
            return False
        number = ready[index % len(ready)]
        message = party.out[number][0]
        self.bytes.append(mqtt.publish(message.topic, message.payload, qos=2, packet_id=number,
                                       dup=True, retain=message.retain, version=party.version))
        self.session(party).link.expect("PUBREC", number, [0])
        return None

    # -- receiving

    def do_ack(self, party, *, index, reason):
        """PUBACK or PUBREC."""
        session = self.session(party)
        ready = [copy for copy in session.flight if copy.state == SENT and not copy.again]
        if not ready:
            return False
        copy = ready[index % len(ready)]
        reason = reason if party.version == 5 and reason else None
        kind = mqtt.PUBACK if copy.qos == 1 else mqtt.PUBREC
        self.bytes.append(mqtt.acknowledge(kind, copy.packet_id, reason))
        if copy.qos == 1 or reason:
            session.flight.remove(copy)
            return None
        copy.state, copy.message = RELEASED, copy.message
        session.link.pubrels.append(copy.packet_id)
        return None

    def do_complete(self, party, *, index):
        """PUBCOMP"""
        session = self.session(party)
        ready = [copy for copy in session.flight if copy.pubrel_seen]
        if not ready:
            return False
        copy = ready[index % len(ready)]
        self.bytes.append(mqtt.acknowledge(mqtt.PUBCOMP, copy.packet_id))
        session.flight.remove(copy)
        return None

    def do_stray(self, party, *, kind):
        """An acknowledgement for what is not under way."""
        session = self.session(party)
        self.bytes.append(mqtt.acknowledge(kind, 40000))
        five = party.version == 5
        if kind == mqtt.PUBREL:
            session.link.inexact = True
            session.link.expect("PUBCOMP", 40000, [0x92 if five else 0])
        elif kind == mqtt.PUBREC:
            session.link.pubrels.append(40000)

    # -- subscriptions

    def do_subscribe(self, party, *, filters, identifier):
        """`filters`: (filter, qos, no local, retain as published, retain handling)"""
        session = self.session(party)
        pairs, codes = [], []
        five = party.version == 5
        wanted = []
        for filter_, qos, no_local, as_published, handling in filters:
            shared = filter_.startswith("$share/")
            if not five:
                no_local, as_published, handling = False, False, 0
            no_local = no_local and not shared
            wanted.append((filter_, qos, no_local, as_published, handling))
            pairs.append((filter_, mqtt.options(qos, no_local, as_published, handling)))
        if not five and sum(filter_.startswith("$share/") for filter_ in
                            {*session.subscriptions, *(one[0] for one in wanted)}) > 1:
            return False  # their copies could not be told apart
        identifier = identifier if five else None
        number = next(party.subscribes)
        if number == BARRIER - 1:
            party.subscribes = itertools.count(FIRST_SUBSCRIBE)
        self.bytes.append(mqtt.subscribe(number, pairs, version=party.version, properties_={
            "subscription_identifier": identifier} if identifier else None))
        for filter_, qos, no_local, as_published, handling in wanted:
            codes.append(qos)
            self.model.subscribe(session, Subscription(filter_, qos, no_local, as_published,
                                                       identifier), handling)
        session.link.expect("SUBACK", number, codes)
        return None

    def do_unsubscribe(self, party, *, filters):
        session = self.session(party)
        number = next(party.subscribes)
        self.bytes.append(mqtt.unsubscribe(number, filters, version=party.version))
        codes = [0 if self.model.unsubscribe(session, filter_) else 0x11 for filter_ in filters]
        session.link.expect("UNSUBACK", number, codes if party.version == 5 else [])
