"""Publishes with gmqtt, QoS 1: HOST PORT VERSION DEVICE COUNT BASE_MS."""

import asyncio
import json
import sys

from gmqtt import Client
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

host, port, version, device, count, base = sys.argv[1:]


async def publish():
    client = Client(device)
    await client.connect(host, int(port), keepalive=20, version={"3.1.1": MQTTv311, "5": MQTTv50}[version])
    for n in range(int(count)):
        client.publish(f"telemetry/{device}", json.dumps({"n": n, "ts": int(base) + 1000 * n}), qos=1)
        # With MQTT 5, gmqtt fails beyond the server's Receive Maximum instead of waiting. It keeps
        # what is unacknowledged there, and gives no other word of it.
        if n % 50 == 49:
            await asyncio.wait_for(client._persistent_storage.wait_empty(), 30)
    await asyncio.wait_for(client._persistent_storage.wait_empty(), 30)
    await client.disconnect()


asyncio.run(publish())
