"""A store that was put back as a whole to an older copy, and the guard on another volume."""
import shutil

from lib import mqtt_packets as mqtt

GUARD = "rollback_guard {dir}/guard"


def put_back(broker, topic):
    """Publishes, copies the store, publishes again and puts the copy in the store's place."""
    with broker.connect("p", mqtt.V5) as client:
        client.publish(topic, "old", qos=1, retain=True)
    broker.stop()
    copy = broker.folder / "copy"
    shutil.copytree(broker.data, copy, copy_function=shutil.copy2)
    broker.start()
    with broker.connect("p", mqtt.V5) as client:
        client.publish(topic, "new", qos=1, retain=True)
    broker.stop()
    owner = broker.data.stat()
    for name in ("store", "keyring"):
        place = broker.data / name
        if place.is_dir():
            shutil.rmtree(place)
            shutil.copytree(copy / name, place)
        else:
            shutil.copy2(copy / name, place)
        for path in (place, *place.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)


def guarded(new_broker, options=""):
    broker = new_broker(started=False)
    (broker.folder / "guard").mkdir()
    broker.write_config(GUARD.replace("{dir}", str(broker.folder)) + "\n" + options)
    return broker.start()


def test_an_older_copy_is_noticed_once(new_broker, topic):
    broker = guarded(new_broker)
    put_back(broker, topic)
    broker.start()
    broker.wait_for_log("the whole store was rolled back")
    reader = broker.connect("r", mqtt.V5)
    reader.subscribe((topic, 0))
    reader.receive(topic, "old")
    broker.restart()
    assert "rolled back" not in broker.log()


def test_an_older_copy_is_refused_where_asked(new_broker, topic):
    broker = guarded(new_broker, "store_on_damage refuse\ncrash_limit 1")
    put_back(broker, topic)
    broker.launch()
    broker.wait_for_log("the whole store was rolled back")
    assert broker.wait_for_exit() != 0
    assert "bulkheadd: ready" not in broker.log()


def test_an_untouched_store_fits_its_guard(new_broker, topic):
    broker = guarded(new_broker)
    with broker.connect("p", mqtt.V5) as client:
        client.publish(topic, "x", qos=1, retain=True)
    broker.restart()
    assert "store damage" not in broker.log()
