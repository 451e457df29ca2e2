"""Publishes with AWS's own clients, boto3 and the aws command: URL HOST PORT DEVICE COUNT BASE_MS.

URL is the server's HTTP listener, HOST and PORT are its broker, where paho listens.
"""

import json
import os
import queue
import subprocess
import sys

# Before boto3 is loaded: nothing here may look for an account, or leave this machine.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)

import boto3
import paho.mqtt.client as mqtt
from botocore.config import Config

url, host, port, device, count, base = sys.argv[1:]
base = int(base)
iot = boto3.client("iot-data", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
aws = os.path.join(os.path.dirname(sys.executable), "aws")
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


def refused(code, status, **parameters):
    try:
        iot.publish(**parameters)
    except iot.exceptions.ClientError as error:
        told = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert told == (code, status), (told, error)
        assert error.response["Error"]["Message"], error
    else:
        sys.exit(f"{parameters['topic']} was taken")


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

refused("InvalidRequestException", 400, topic="x" * 257, payload=b"x")
refused("InvalidRequestException", 400, topic="a/b/c/d/e/f/g/h/i", payload=b"x")
refused("InvalidRequestException", 400, topic="$aws/things/t/shadow/update", payload=b"{}")
refused("InvalidRequestException", 400, topic="a", qos=2, payload=b"x")
refused("ForbiddenException", 403, topic=f"fieldline/{device}/ack", payload=b"{}")
refused("RequestEntityTooLargeException", 413, topic="a", payload=b"x" * 131073)
refused("InvalidRequestException", 400, topic=f"$aws/rules/fieldline_ingest/{device}", qos=1, payload=b"no block")

subprocess.run(
    [aws, "iot-data", "publish", "--endpoint-url", url, "--topic", f"{device}/command", "--qos", "1"]
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
