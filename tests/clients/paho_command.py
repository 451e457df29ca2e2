"""Does one command with paho-mqtt: HOST PORT VERSION DEVICE.

With MQTT 5 it knows no topic but the one that it subscribes to: it answers where the request says."""

import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, version, device = sys.argv[1:]
protocol = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
prefix = f"$aws/commands/things/{device}/executions/"
replies = []
replied = threading.Event()


def on_connect(client, _userdata, _flags, _code, _properties):
    client.subscribe([(f"{prefix}+/response/+/json", 1), (f"{prefix}+/request/json", 1)])


def on_message(client, _userdata, message):
    if not message.topic.endswith("/request/json"):
        replies.append((message.topic, json.loads(message.payload)))
        return replied.set()
    request = json.loads(message.payload)
    topic, properties = message.topic.replace("/request/", "/response/"), None
    if version == "5":
        assert message.properties.CorrelationData.decode() == message.topic.split("/")[5]
        assert message.properties.MessageExpiryInterval >= 1
        topic, properties = message.properties.ResponseTopic, Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = message.properties.CorrelationData
    answer = {"status": "SUCCEEDED", "result": {"did": request["command"], "with": request["parameters"]}}
    client.publish(topic, json.dumps(answer), qos=1, properties=properties)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=protocol)
client.on_connect, client.on_message = on_connect, on_message
client.connect(host, int(port), keepalive=20)
client.loop_start()
if not replied.wait(30):
    sys.exit(f"{device}: no reply")
client.disconnect()
client.loop_stop()
if not replies[0][0].endswith("/response/accepted/json"):
    sys.exit(f"{device}: {replies[0]}")
