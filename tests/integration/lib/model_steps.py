"""Draws the random steps of a run. What they do is in model_run."""
import itertools

from . import mqtt_packets as mqtt

IN_BURST = {"publish", "resend", "release", "repeat", "ack", "complete", "stray", "subscribe",
            "unsubscribe"}
TIME_EVERY = 1000  # steps between two that wait for the time
LASTING = 100000   # seconds of life for a message that nobody lets expire

TOPICS = ["a", "a/b", "a/b/c", "a/c", "b", "b/b", "/a", "a/", "b/c/d", "c"]
FILTERS = ["a", "a/b", "a/b/c", "a/#", "a/+", "+/b", "#", "+", "+/+", "/+", "/#", "a/+/c", "b/#",
           "b/+/#", "a/", "c", "+/+/+", "b"]
SHARED = ["$share/g/a/#", "$share/g/a/b", "$share/h/a/+", "$share/h/#", "$share/g/b/#"]

WEIGHTS = {"publish": 40, "ack": 24, "complete": 12, "release": 8, "subscribe": 7, "unsubscribe": 5,
           "repeat": 1, "stray": 0.5, "disconnect": 2, "cut": 2.5, "connect": 1.5, "break": 0.2,
           "flood": 0.15}


class Steps:
    """An endless source of steps for a run."""

    def __init__(self, source, run):
        self.source = source
        self.run = run
        self.parties = run.parties
        self.identifiers = itertools.count(1000)
        self.current = None
        self.left = 0
        self.count = 0
        self.planned = []
        self.timed = itertools.cycle(("outdate", "vanish", "haunt"))

    def chance(self, share):
        return self.source.random() < share

    def next(self):
        if self.planned:
            return self.planned.pop(0)
        self.count += 1
        if self.count % TIME_EVERY == TIME_EVERY // 4:
            return self.timed_step()
        glued = self.left > 0 and self.parties[self.current].client is not None
        if not glued:
            self.current = self.source.randrange(len(self.parties))
            self.left = self.source.choice((1, 1, 2, 3, 5, 9))
        self.left -= 1
        party = self.parties[self.current]
        if party.client is None:
            return self.current, "connect", self.connect(party), False
        if party.out and not glued and any(state == "sent" for _, state in party.out.values()) and \
                self.chance(0.8):
            return self.current, "resend", {}, False
        verb = self.source.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        return self.current, verb, self.arguments(verb, party), glued

    def arguments(self, verb, party):
        draw = getattr(self, verb, None)
        return draw(party) if draw else {}

    def timed_step(self):
        verb = next(self.timed)
        five = [number for number, party in enumerate(self.parties) if party.version == 5 and
                (party.client is None) == (verb == "haunt")]
        if not five:
            return 0, "stray", {"kind": mqtt.PUBACK}, False
        party = self.source.choice(five)
        self.current, self.left = party, 0
        if verb == "outdate":
            self.planned = self.plan_outdate(party)
            return self.planned.pop(0)
        if verb == "vanish":
            return party, verb, {"keep_will": self.chance(0.5)}, False
        return party, verb, {"topic": self.source.choice(TOPICS),
                             "qos": self.source.randrange(3)}, False

    def plan_outdate(self, party):
        """Some clients are away while messages expire, and others become older, in their queues and
        among the retained ones; then they come back, and somebody asks for what is retained."""
        others = [number for number, other in enumerate(self.parties)
                  if other.client is not None and number != party]
        away = self.source.sample(others, len(others) // 2)
        present = party if len(away) == len(others) else \
            self.source.choice([number for number in others if number not in away])
        topics = self.source.sample(TOPICS, 5)
        lasting = self.source.sample(TOPICS, 3)
        everything = ("#", self.source.randrange(3), False, self.chance(0.5), 0)
        return [
            *((number, "cut", {"partial": False}, False) for number in away),
            *((party, "publish", self.message(topic, qos=1, expiry=LASTING), at > 0)
              for at, topic in enumerate(lasting)),
            (party, "outdate", {"topics": [(topic, int(self.chance(0.8)), self.chance(0.5))
                                           for topic in topics]}, False),
            *((number, "connect", {**self.connect(party), "clean": self.chance(0.2)}, False)
              for number in away),
            (present, "subscribe", {"filters": [everything], "identifier": None}, False)]

    def message(self, topic, qos, expiry):
        return {"topic": topic, "qos": qos, "retain": self.chance(0.5), "empty": False,
                "large": False, "properties": {}, "expiry": expiry, "alias": False}

    # -- one method for each verb that has arguments

    def connect(self, _party):
        will = None
        if self.chance(0.4):
            will = {"topic": self.source.choice(TOPICS), "qos": self.source.randrange(3),
                    "retain": self.chance(0.3), "delay": self.source.choice((0, 0, 1000))}
        return {"clean": self.chance(0.2), "expiry": self.source.choice((0, 1000, 1000, 0xffffffff)),
                "receive_maximum": self.source.choice((None, 1, 2, 4)), "small": self.chance(0.2),
                "aliases": self.source.choice((0, 0, 3)),
                "over": self.source.choice(("tcp", "tcp", "ws")), "will": will,
                "reset": self.chance(0.3)}

    def disconnect(self, _party):
        return {"keep_will": self.chance(0.3),
                "expiry": self.source.choice((None, None, 0, 1000))}

    def cut(self, _party):
        return {"partial": self.chance(0.3)}

    def publish(self, _party):
        if self.chance(0.12):
            return self.clearing(self.source.choice(TOPICS))
        properties = {}
        if self.chance(0.2):
            properties["user_property"] = [("k", str(self.source.randrange(3))), ("a", ""),
                                           ("k", "again")]
        if self.chance(0.1):
            properties.update(content_type="text", response_topic="r/t", correlation_data=b"\0c",
                              payload_format_indicator=1)
        return {"topic": self.source.choice(TOPICS) if self.chance(0.99) else "$x/y",
                "qos": self.source.choice((0, 1, 1, 2, 2)), "retain": self.chance(0.3),
                "empty": False, "large": self.chance(0.05), "properties": properties,
                "expiry": LASTING if self.chance(0.15) else None, "alias": self.chance(0.2)}

    @staticmethod
    def clearing(topic):
        """Without a payload, those of a topic cannot be told apart; so they are the same in all."""
        return {"topic": topic, "qos": TOPICS.index(topic) % 3, "retain": True, "empty": True,
                "large": False, "properties": {}, "expiry": None, "alias": False}

    def index(self, _party):
        return {"index": 0 if self.chance(0.7) else self.source.randrange(1, 10)}

    release = repeat = complete = index

    def ack(self, party):
        return {**self.index(party), "reason": 0x80 if self.chance(0.05) else None}

    def stray(self, _party):
        return {"kind": self.source.choice((mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP))}

    def subscribe(self, _party):
        if self.chance(0.3):
            return {"filters": [(self.source.choice(SHARED), self.source.randrange(3), False,
                                 self.chance(0.4), 0)], "identifier": next(self.identifiers)}
        filters = [(filter_, self.source.choice((0, 1, 2, 2)), self.chance(0.2), self.chance(0.4),
                    self.source.randrange(3))
                   for filter_ in self.source.sample(FILTERS, self.source.choice((1, 1, 2, 3)))]
        return {"filters": filters, "identifier": self.source.choice((None, None, 1, 2, 300))}

    def unsubscribe(self, party):
        session = self.run.session(party)
        held = sorted(session.subscriptions) if session is not None else []
        wanted = self.source.sample(held, min(len(held), self.source.choice((1, 1, 2))))
        if not wanted or self.chance(0.1):
            wanted.append(self.source.choice(FILTERS))
        return {"filters": wanted}
