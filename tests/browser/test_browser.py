"""A browser with MQTT.js on a page, through the stand-in for cloudflared."""
import pytest
from conftest import USERS
from lib import processes

pytestmark = pytest.mark.timeout(180)
SECONDS = 20


class Page:
    """The page's client and what it has seen."""

    def __init__(self, browser, origin, port, user, password):
        self.browser = browser
        browser.go(f"{origin}/")
        browser.run("open_client(...arguments)", f"ws://127.0.0.1:{port}/mqtt", user, password)

    def seen(self):
        return self.browser.run("return seen")

    def wait(self, condition, what):
        try:
            processes.wait_until(lambda: condition(self.seen()), SECONDS, what, step=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.seen()}") from None

    def subscribe(self, pattern):
        self.browser.run("window.granted = null; client.subscribe(arguments[0], {qos: 1}, "
                         "(error, granted) => { window.granted = "
                         "error ? String(error) : granted.map((each) => each.qos); })", pattern)
        return processes.wait_until(lambda: self.browser.run("return window.granted"), SECONDS,
                                    "SUBACK", step=0.05)

    def publish(self, topic, payload):
        self.browser.run("window.published = null; client.publish(arguments[0], arguments[1], "
                         "{qos: 1}, (error) => { window.published = String(error); })",
                         topic, payload)
        return processes.wait_until(lambda: self.browser.run("return window.published"), SECONDS,
                                    "PUBACK", step=0.05)

    def close(self):
        self.browser.run("client.end(true)")


def test_publish_cut_resume(browser, pages, tunnel, broker):
    """Subscribes, publishes, survives a cut of the tunnel, and finds its session again with what
    was published meanwhile."""
    page = Page(browser, pages.origin, tunnel.port, "ada", USERS["ada"])
    page.wait(lambda seen: seen["connects"], "CONNACK")
    assert page.seen()["connects"] == [False]
    assert page.subscribe("ada/#") == [1]
    page.publish("ada/one", "from the browser")
    page.wait(lambda seen: "ada/one from the browser" in seen["messages"], "its own message")
    # away, until something was published for it
    browser.run("client.options.reconnectPeriod = 1500")
    tunnel.cut()
    page.wait(lambda seen: seen["closes"], "the cut")
    other = broker.connect("other", username="ada", password=USERS["ada"])
    other.publish("ada/two", "while away", qos=1)
    page.wait(lambda seen: "ada/two while away" in seen["messages"], "the message sent meanwhile")
    assert page.seen()["connects"] == [False, True], "the session was not resumed"
    assert page.seen()["messages"].count("ada/one from the browser") == 1
    page.close()


def test_other_users_stay_apart(browser, pages, tunnel, broker):
    page = Page(browser, pages.origin, tunnel.port, "bob", USERS["bob"])
    page.wait(lambda seen: seen["connects"], "CONNACK")
    assert "ot authorized" in str(page.subscribe("ada/#"))
    assert page.subscribe("bob/#") == [1]
    other = broker.connect("apart", username="ada", password=USERS["ada"])
    other.publish("ada/secret", "not for bob", qos=1)
    page.publish("bob/own", "for bob")
    page.wait(lambda seen: "bob/own for bob" in seen["messages"], "its own message")
    assert all(line.startswith("bob/") for line in page.seen()["messages"])
    page.close()


def test_pages_of_other_origins_are_refused(browser, pages, tunnel):
    page = Page(browser, pages.other_origin, tunnel.port, "ada", USERS["ada"])
    page.wait(lambda seen: seen["closes"] >= 2, "two refused attempts")
    assert page.seen()["connects"] == []
    page.close()
