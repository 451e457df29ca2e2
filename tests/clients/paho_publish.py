"""Publishes with paho-mqtt, QoS 1: HOST PORT VERSION DEVICE COUNT BASE_MS."""

import json
import sys

import paho.mqtt.client as mqtt

host, port, version, device, count, base = sys.argv[1:]
protocol = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=protocol)
refused = []
client.on_publish = lambda _client, _data, _mid, code, _properties: code.is_failure and refused.append(code)
client.connect(host, int(port), keepalive=20)
client.loop_start()
waiting = [
    client.publish(f"telemetry/{device}", json.dumps({"n": n, "ts": int(base) + 1000 * n}), qos=1)
    for n in range(int(count))
]
for message in waiting:
    message.wait_for_publish(30)
    if not message.is_published():
        sys.exit(f"{device}: message {message.mid} was not acknowledged")
client.disconnect()
client.loop_stop()
if refused:
    sys.exit(f"{device}: refused with {refused}")
