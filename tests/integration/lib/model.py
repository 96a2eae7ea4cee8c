"""A reference model of sessions, subscriptions and retained messages, written from the standard and
not from the broker: what a broker keeps for its clients, and what it may send them next.

What the standard leaves open is open here, too: which member of a group gets a message, and in
which order messages of different topics come. What happens at one moment is a call; what a client
then sees is given to `arrived` and its neighbours, which raise Difference, and `missing` says what
should have come by now.
"""
import time
from dataclasses import dataclass, field
from functools import partial

WAITING, SENT, RELEASED = "waiting", "sent", "released"
NO_MATCH, NOT_AUTHORIZED = 0x10, 0x87


class Difference(AssertionError):
    """The broker did what no broker may do, or not what it must."""


def matches(filter_, topic):
    """Whether a plain filter matches a topic name (5.0, 4.7)."""
    wanted, given = filter_.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at == len(given) or level not in ("+", given[at]):
            return False
    return len(wanted) == len(given)


def split_share(filter_):
    """(group name or None, plain filter)"""
    if not filter_.startswith("$share/"):
        return None, filter_
    _, name, plain = filter_.split("/", 2)
    return name, plain


@dataclass(eq=False)
class Message:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: dict = field(default_factory=dict)  # without the expiry
    expiry: int = None
    large: bool = False
    expired: bool = False
    publisher: object = None
    taken: float = field(default_factory=time.monotonic)  # not earlier
    handled: float = None                                 # not later

    def __str__(self):
        return f"{self.topic!r} {self.payload[:12]!r} qos {self.qos}" + " retain" * self.retain


@dataclass(eq=False)
class Subscription:
    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int = None

    def __post_init__(self):
        self.group, self.plain = split_share(self.filter)

    def identifiers(self):
        return [self.identifier] if self.identifier else []


@dataclass(eq=False)
class Copy:
    """A message on its way to one session."""
    message: Message
    qos: int
    retain: bool
    identifiers: list
    group: tuple = None
    state: str = WAITING
    packet_id: int = None
    again: bool = False        # must be sent again on this connection
    maybe_sent: bool = False   # the connection broke while it may have been under way
    optional: bool = False     # may have been dropped
    pubrel_seen: bool = False

    def __str__(self):
        return f"{self.message} as qos {self.qos} ids {self.identifiers}" \
            + f" packet {self.packet_id}" * (self.packet_id is not None)


@dataclass(eq=False)
class Shared:
    """A message that one member of a group gets; `options` has what each possible one would get."""
    message: Message
    group: tuple
    options: dict  # session: list of Copy
    moved: bool = False
    optional: bool = False
    maybe_sent: set = field(default_factory=set)

    def __str__(self):
        return f"{self.message} of group {self.group[1:]} to one of " \
            + ", ".join(str(session.key) for session in self.options)


@dataclass(eq=False)
class Owed:
    """A retained message that a new subscription asks for. A broker that paces them need not send
    one that was replaced or cleared in between."""
    subscription: Subscription
    message: Message
    optional: bool = False
    maybe_sent: bool = False

    def __str__(self):
        return f"retained {self.message} for {self.subscription.filter!r}"


@dataclass(eq=False)
class Will:
    message: Message
    delay: int = 0


@dataclass(eq=False)
class Link:
    """A connection as the broker sees it."""
    window: int
    small: bool = False
    counted: set = field(default_factory=set)  # packet ids that fill Receive Maximum
    inexact: bool = False  # PUBCOMP for what this connection did not send has made room
    pubrels: list = field(default_factory=list)  # packet ids that must come
    replies: dict = field(default_factory=dict)  # kind: list of (packet id, reasons)

    def expect(self, kind, packet_id, reasons):
        self.replies.setdefault(kind, []).append((packet_id, reasons))


class Session:
    def __init__(self, key, version):
        self.key = key
        self.version = version
        self.expiry = 0
        self.link = None
        self.subscriptions = {}
        self.waiting = []
        self.flight = []
        self.owed = []
        self.received = set()
        self.will = None

    def in_window(self):
        return sum(not copy.again for copy in self.flight)

    def is_open(self):
        """A message that waits for this client would have been sent by now."""
        return self.link is not None and self.in_window() < self.link.window

    def packet_ids(self):
        return {copy.packet_id for copy in self.flight}


def same(copy, packet, version, moment):
    """Whether a PUBLISH that was sent after that moment is this copy."""
    message = copy.message
    if (packet.topic, packet.payload, packet.qos, packet.retain) != \
            (message.topic, message.payload, copy.qos, copy.retain):
        return False
    if version != 5:
        return True
    seen = dict(packet.properties)
    seen.pop("topic_alias", None)
    if sorted(seen.pop("subscription_identifier", [])) != sorted(copy.identifiers):
        return False
    left = seen.pop("message_expiry_interval", None)
    if message.expiry is None:
        if left is not None:
            return False
    elif left is None or not least_left(message) <= left <= most_left(message, moment):
        return False
    return seen == message.properties


def least_left(message):
    """Whole seconds of its life that a message must still have."""
    return max(0, message.expiry - (time.monotonic() - message.taken) - 1)


def most_left(message, moment):
    """... and may have when it is sent after that moment. A broker rounds up, and looks at its clock
    once for all that it handles in one go; another second is left to it for that."""
    waited = max(0, moment - message.handled) if message.handled is not None else 0
    return max(0, min(message.expiry, message.expiry - waited + 2))


class Model:
    """The broker."""

    def __init__(self):
        self.sessions = {}
        self.retained = {}
        self.shared = []
        self.fresh = []  # messages that may not have been handled yet
        self.moment = time.monotonic()

    def pass_moment(self):
        """What has been sent to the broker is handled, and what came of it was seen."""
        self.moment = time.monotonic()
        for message in self.fresh:
            message.handled = self.moment
        self.fresh = []

    # -- connections

    def connect(self, key, version, *, clean, expiry, link, will=None):
        """Returns whether a session is resumed."""
        session = self.sessions.get(key)
        if session is not None and session.link is not None:
            self.gone(session)
            session = self.sessions.get(key)
        if session is not None and clean:
            self.end(session)
            session = None
        present = session is not None
        if not present:
            session = self.sessions[key] = Session(key, version)
        session.expiry, session.link, session.will = expiry, link, will
        for copy in session.flight:
            if copy.state == RELEASED:
                link.pubrels.append(copy.packet_id)
                copy.pubrel_seen = False
            else:
                copy.again = True
        return present

    def gone(self, session, *, orderly=False, dirty=False):
        """The connection ends. `dirty`: what was under way may or may not have been sent."""
        self._drop_large(session)
        session.link = None
        for copy in session.flight:
            copy.again = False
        if orderly:
            session.will = None
        session.waiting = [copy for copy in session.waiting if copy.qos > 0]
        if dirty:
            for thing in session.waiting + session.owed:
                thing.maybe_sent = True
            for owed in session.owed:
                owed.optional |= owed.message.qos == 0
            for shared in self.shared:
                if session in shared.options:
                    shared.maybe_sent.add(session)
        for owed in session.owed:
            owed.optional |= owed.subscription.qos == 0
        for shared in list(self.shared):
            if any(copy.qos == 0 for copy in shared.options.get(session, ())):
                shared.optional = True  # if it was for this one, it is lost
                self._withdraw(shared, session, lambda copy: copy.qos == 0)
        if session.expiry == 0:
            self.end(session)
        elif session.will is not None and session.will.delay == 0:
            self.fire(session)

    def fire(self, session):
        will, session.will = session.will, None
        if will is not None:
            will.message.taken = time.monotonic()
            self.publish(will.message, session)

    def end(self, session):
        """The session ends, and with it all that was for its client only."""
        self.fire(session)
        for subscription in list(session.subscriptions.values()):
            self._leave(session, subscription, ended=True)
        for shared in self.shared:  # what it still had of groups that it left before
            shared.optional |= shared.options.pop(session, None) is not None
        self.shared = [shared for shared in self.shared if shared.options]
        del self.sessions[session.key]

    # -- subscriptions

    def subscribe(self, session, subscription, retain_handling=0):
        existed = subscription.filter in session.subscriptions
        session.subscriptions[subscription.filter] = subscription
        if subscription.group is not None or retain_handling == 2 or \
                (retain_handling == 1 and existed):
            return
        for owed in session.owed:  # the new sending takes the place of the old one
            owed.optional |= owed.subscription.filter == subscription.filter
        for topic, message in self.retained.items():
            if matches(subscription.plain, topic) and \
                    not (subscription.no_local and message.publisher == session.key):
                session.owed.append(Owed(subscription, message))

    def unsubscribe(self, session, filter_):
        """Returns whether there was such a subscription."""
        if filter_ not in session.subscriptions:
            return False
        for owed in session.owed:
            if owed.subscription.filter == filter_:
                owed.optional = True
        self._leave(session, session.subscriptions[filter_], ended=False)
        return True

    def members(self, group):
        user, name, plain = group
        return [(session, subscription) for session in self.sessions.values()
                for subscription in session.subscriptions.values()
                if (session.key[0], subscription.group, subscription.plain) == (user, name, plain)]

    def _leave(self, session, subscription, ended):
        del session.subscriptions[subscription.filter]
        if subscription.group is None:
            return
        group = (session.key[0], subscription.group, subscription.plain)
        others = bool(self.members(group))
        if ended and others:
            for copy in session.flight:
                if copy.group == group and copy.state == SENT and copy.qos == 1 and \
                        not copy.message.expired:
                    self._share(copy.message, group, moved=True, optional=copy.optional)
        for shared in list(self.shared):
            if shared.group == group and session in shared.options and (ended or others):
                self._move(shared, session, ended, others)

    def _move(self, shared, session, ended, others):
        """A possible holder of a message leaves its group. One whose session goes on completes
        what has been sent; what has not been sent goes to another member."""
        held = shared.options[session]
        options = {}
        if others and not shared.message.expired and any(copy.qos > 0 for copy in held):
            options = self._options(shared.message, shared.group)
        if ended:
            del shared.options[session]
            if session in shared.maybe_sent and any(copy.qos == 2 for copy in held):
                shared.optional = True
        if others and not options and any(copy.qos > 0 for copy in held) or \
                ended and not others and shared.options:
            shared.optional = True
        for holder, copies in options.items():
            shared.options.setdefault(holder, []).extend(copies)
        shared.moved = True
        if not shared.options:
            self.shared.remove(shared)

    def _withdraw(self, shared, session, gone):
        """Some of what the session might have of a shared message cannot be there."""
        if session not in shared.options:
            return
        left = [copy for copy in shared.options[session] if not gone(copy)]
        if left:
            shared.options[session] = left
            return
        del shared.options[session]
        if not shared.options:
            self.shared.remove(shared)

    # -- messages

    def publish(self, message, publisher):
        """Returns the reason code that a publisher of MQTT 5 sees."""
        message.publisher = publisher.key
        self.fresh.append(message)
        if message.topic.startswith("$"):
            return NOT_AUTHORIZED
        if message.retain:
            self._retain(message)
        matched = False
        groups = {}
        for session in list(self.sessions.values()):
            found = []
            for subscription in session.subscriptions.values():
                if not matches(subscription.plain, message.topic):
                    continue
                if subscription.group is not None:
                    groups[(session.key[0], subscription.group, subscription.plain)] = True
                elif not (subscription.no_local and session is publisher):
                    found.append(subscription)
            if found:
                matched = True
                self._give(session, self._copy(message, found))
        for group in groups:
            matched = True
            self._share(message, group)
        return 0 if matched else NO_MATCH

    def _retain(self, message):
        before = self.retained.pop(message.topic, None)
        if message.payload:
            self.retained[message.topic] = message
        for session in self.sessions.values():
            for owed in session.owed:
                owed.optional |= owed.message is before

    @staticmethod
    def _copy(message, subscriptions, group=None):
        qos = min(message.qos, max(subscription.qos for subscription in subscriptions))
        retain = message.retain and any(one.retain_as_published for one in subscriptions)
        return Copy(message, qos, retain,
                    [number for one in subscriptions for number in one.identifiers()], group)

    @staticmethod
    def _give(session, copy):
        if session.link is None and copy.qos == 0:
            return
        if session.link is not None and session.link.small and copy.message.large:
            return
        session.waiting.append(copy)

    def _options(self, message, group):
        """Which member may get it, as what: one that is connected, if there is any."""
        options = {session: [self._copy(message, [subscription], group)]
                   for session, subscription in self.members(group)}
        here = {session: copies for session, copies in options.items()
                if session.link is not None and not (session.link.small and message.large)}
        return here or {session: copies for session, copies in options.items()
                        if session.link is None and copies[0].qos > 0}

    def _share(self, message, group, moved=False, optional=False):
        options = self._options(message, group)
        if options:
            self.shared.append(Shared(message, group, options, moved, optional))

    def expire(self, message):
        """The message's time is over; what has been begun is still completed."""
        message.expired = True
        if self.retained.get(message.topic) is message:
            del self.retained[message.topic]
        for session in self.sessions.values():
            for copy in list(session.waiting):
                if copy.message is message:
                    copy.optional = True
                    if not copy.maybe_sent:
                        session.waiting.remove(copy)
            for owed in session.owed:
                owed.optional |= owed.message is message
        for shared in list(self.shared):
            if shared.message is message:
                shared.optional = True
                for session in set(shared.options) - shared.maybe_sent:
                    self._withdraw(shared, session, lambda copy: True)

    # -- what a client sees

    def arrived(self, session, packet):
        """A PUBLISH, its topic alias resolved."""
        if packet.qos and self._is_again(session, packet):
            return
        if packet.qos and packet.packet_id in session.packet_ids():
            raise Difference(f"packet id {packet.packet_id} is in use")
        if session.link.small and len(packet.payload) > 1000:
            raise Difference("a packet above Maximum Packet Size")
        copy = self._find_waiting(session, packet)
        if copy is not None:
            self._note_twins(session, packet)
        copy = copy or self._find_shared(session, packet) or self._find_owed(session, packet)
        if copy is None:
            raise Difference("nothing like that was to come. Waiting: " + self.describe(session))
        if packet.dup and not copy.maybe_sent:
            raise Difference("DUP, but it was never sent before")
        if packet.qos == 0:
            return
        if session.in_window() >= session.link.window:
            raise Difference(f"above the window of {session.link.window}")
        if any(one.again and one.message.topic == packet.topic and self._must_come(session, one)
               for one in session.flight):
            raise Difference("it overtakes one of the same topic that is to be sent again")
        copy.state, copy.packet_id, copy.optional = SENT, packet.packet_id, False
        session.flight.append(copy)

    def _same(self, session, copy, packet):
        return same(copy, packet, session.version, self.moment)

    def _is_again(self, session, packet):
        """Whether it is one that is sent again, which must come in the old order."""
        again = [copy for copy in session.flight if copy.again]
        found = next((copy for copy in again if copy.packet_id == packet.packet_id), None)
        if found is None:
            return False
        if not packet.dup or not self._same(session, found, packet):
            raise Difference(f"sent again, it should be {found} with DUP")
        for copy in again[:again.index(found)]:
            if self._must_come(session, copy):
                raise Difference(f"sent again before {copy}")
        if session.in_window() >= session.link.window:
            raise Difference(f"sent again above the window of {session.link.window}")
        found.again = False
        return True

    def _find_waiting(self, session, packet):
        for copy in session.waiting:
            if copy.message.topic != packet.topic or (copy.qos == 0) != (packet.qos == 0):
                continue
            if self._same(session, copy, packet):
                session.waiting.remove(copy)
                return copy
            if self._must_come(session, copy):
                return None
        return None

    def _find_shared(self, session, packet):
        for shared in self.shared:
            for copy in shared.options.get(session, ()):
                if not self._same(session, copy, packet):
                    continue
                copy.maybe_sent = session in shared.maybe_sent
                self.shared.remove(shared)
                self._check_turn(session, shared)
                self._blur_twins(session, shared, packet)
                return copy
        return None

    def _blur_twins(self, session, taken, packet):
        """It may have been another one that looks the same (without a payload they do); then the one
        that was taken for it is still where it could be."""
        for shared in self.shared:
            if any(self._same(session, copy, packet) for copy in shared.options.get(session, ())):
                shared.optional = True
                for holder, copies in taken.options.items():
                    shared.options.setdefault(holder, []).extend(copies)

    def _note_twins(self, session, packet):
        """A plain copy came; if a shared one looks the same, it may have been that one."""
        for shared in self.shared:
            if any(self._same(session, copy, packet) for copy in shared.options.get(session, ())):
                shared.optional = True

    def _check_turn(self, session, shared):
        """Nothing older of the same topic may still wait for it in the same place."""
        for other in self.shared:
            if other.message is shared.message:
                break
            if other.group == shared.group and other.message.topic == shared.message.topic and \
                    list(other.options) == [session] and self._must_come(session, other) and \
                    not (shared.moved or other.moved) and \
                    (other.options[session][0].qos == 0) == (shared.options[session][0].qos == 0) \
                    and other.message.taken < shared.message.taken:
                raise Difference(f"it overtakes {other}")

    def _find_owed(self, session, packet):
        for owed in sorted(session.owed, key=lambda owed: owed.optional):
            copy = Copy(owed.message, min(owed.message.qos, owed.subscription.qos), True,
                        owed.subscription.identifiers(), maybe_sent=owed.maybe_sent)
            if self._same(session, copy, packet):
                session.owed.remove(owed)
                return copy
        return None

    @staticmethod
    def replied(session, kind, packet_id, reasons):
        """An answer to something that the client sent."""
        wanted = session.link.replies.get(kind)
        if not wanted:
            raise Difference("nothing of the kind was asked for")
        if wanted[0] != (packet_id, reasons):
            raise Difference(f"the next one should be packet {wanted[0][0]} with {wanted[0][1]}")
        del wanted[0]

    @staticmethod
    def released(session, packet_id):
        """PUBREL"""
        if packet_id not in session.link.pubrels:
            raise Difference("no such PUBREL was to come")
        session.link.pubrels.remove(packet_id)
        for copy in session.flight:
            if copy.packet_id == packet_id:
                copy.pubrel_seen = True

    # -- what should have come

    def missing(self, session):
        """What a connected client should have seen by now."""
        link = session.link
        found = [f"{kind} for packet {packet_id}" for kind, replies in link.replies.items()
                 for packet_id, _ in replies]
        found += [f"PUBREL for packet {packet_id}" for packet_id in link.pubrels]
        for copy in session.waiting:
            if (copy.qos == 0 or session.is_open()) and self._must_come(session, copy):
                found.append(str(copy))
        if session.is_open():
            found += [f"{copy}, again" for copy in session.flight
                      if copy.again and self._must_come(session, copy)]
            found += [str(owed) for owed in session.owed if self._must_come(session, owed)]
        return found

    @staticmethod
    def _must_come(session, thing):
        return not thing.optional and not (session.link.small and thing.message.large)

    def possible(self, sessions):
        """How many things may still come to clients that could take them."""
        return sum(len(session.waiting) + len(session.owed) +
                   sum(copy.again for copy in session.flight) +
                   sum(session in shared.options for shared in self.shared)
                   for session in sessions if session.is_open())

    def settled(self, session):
        """Nothing is missing: what could have come and has not is not there."""
        self._drop_large(session)
        if not session.is_open():
            return
        session.waiting = []
        session.flight = [copy for copy in session.flight if not copy.again]
        session.owed = []

    def _drop_large(self, session):
        """What a client does not take may have been dropped, and so is optional for the next one."""
        if not session.link.small:
            return
        things = session.owed + [copy for copy in session.waiting + session.flight
                                 if copy.state == WAITING or copy.again]
        things += [shared for shared in self.shared if session in shared.options]
        for thing in things:
            thing.optional |= thing.message.large

    def missing_shared(self):
        """Messages that some member should have by now."""
        return [shared for shared in self.shared if not shared.optional and
                all(self._has_been_sent(session, copy) for session, copies in shared.options.items()
                    for copy in copies) and not
                any(session.link.small and shared.message.large for session in shared.options)]

    def settled_shared(self):
        for shared in list(self.shared):
            for session in list(shared.options):
                self._withdraw(shared, session, partial(self._has_been_sent, session))

    @staticmethod
    def _has_been_sent(session, copy):
        """It does not wait in the session."""
        return session.is_open() or session.link is not None and copy.qos == 0

    def describe(self, session):
        things = session.waiting + session.owed + [copy for copy in session.flight if copy.again] \
            + [shared for shared in self.shared if session in shared.options]
        return "; ".join(str(thing) for thing in things) or "nothing"
