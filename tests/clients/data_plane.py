"""Publishes with AWS's own clients, boto3 and the aws command: URL HOST PORT DEVICE COUNT BASE_MS.

URL is the server's HTTP listener, HOST and PORT are its broker, where paho listens.
"""

import json
import queue
import subprocess
import sys

from aws_local import AWS, iot_data, refused

import paho.mqtt.client as mqtt

url, host, port, device, count, base = sys.argv[1:]
base = int(base)
iot = iot_data(url)
heard = queue.Queue()


def subscriber():
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{device}-listener", protocol=mqtt.MQTTv5)
    subscribed = queue.Queue()
    client.on_subscribe = lambda *_: subscribed.put(True)
    client.on_message = lambda _client, _data, message: heard.put(message)
    client.connect(host, int(port), keepalive=20)
    client.loop_start()
    client.subscribe(f"{device}/#", qos=1)
    subscribed.get(timeout=30)
    return client


def expect(topic, payload, qos):
    message = heard.get(timeout=30)
    assert (message.topic, message.payload, message.qos) == (topic, payload, qos), (message.topic, message.payload)
    return message


listener = subscriber()

iot.publish(topic=f"{device}/door ä+b/1".replace("+", "-"), qos=1, payload=b"open \xff")
expect(f"{device}/door ä-b/1", b"open \xff", 1)
iot.publish(topic=f"{device}/plain", payload="text")
expect(f"{device}/plain", b"text", 0)
iot.publish(
    topic=f"{device}/rich",
    qos=1,
    retain=True,
    payload=b"{}",
    contentType="application/json",
    responseTopic=f"{device}/reply",
    correlationData="AQI=",
    payloadFormatIndicator="UTF8_DATA",
    messageExpiry=60,
    userProperties=[{"site": "hall-7"}, {"site": "hall-8"}],
)
rich = expect(f"{device}/rich", b"{}", 1).properties
assert rich.ContentType == "application/json" and rich.PayloadFormatIndicator == 1, rich
assert rich.ResponseTopic == f"{device}/reply" and rich.UserProperty == [("site", "hall-7"), ("site", "hall-8")], rich
iot.publish(topic=f"{device}/large", qos=1, payload=b"x" * 131072)
expect(f"{device}/large", b"x" * 131072, 1)

refused("InvalidRequestException", 400, iot.publish, topic="x" * 257, payload=b"x")
refused("InvalidRequestException", 400, iot.publish, topic="a/b/c/d/e/f/g/h/i", payload=b"x")
refused("InvalidRequestException", 400, iot.publish, topic="$aws/things/t/shadow/update", payload=b"{}")
refused("InvalidRequestException", 400, iot.publish, topic="a", qos=2, payload=b"x")
refused("ForbiddenException", 403, iot.publish, topic=f"fieldline/{device}/ack", payload=b"{}")
refused("RequestEntityTooLargeException", 413, iot.publish, topic="a", payload=b"x" * 131073)
refused("InvalidRequestException", 400, iot.publish, topic=f"$aws/rules/fieldline_ingest/{device}", qos=1, payload=b"no block")

subprocess.run(
    [AWS, "iot-data", "publish", "--endpoint-url", url, "--topic", f"{device}/command", "--qos", "1"]
    + ["--payload", "by hand"],
    check=True,
    timeout=120,
)
expect(f"{device}/command", b"by hand", 1)
assert heard.empty()

for n in range(int(count)):
    iot.publish(topic=f"telemetry/{device}", qos=1, payload=json.dumps({"n": n, "ts": base + 1000 * n}))
listener.disconnect()
listener.loop_stop()
