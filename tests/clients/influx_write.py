"""Writes line protocol with influxdb-client: URL DEVICE COUNT BASE_MS."""

import sys

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS

url, device, count, base = sys.argv[1:]
points = [
    Point("cpu").tag("device", device).tag("core", "0").field("n", n).time(int(base) + 1000 * n, WritePrecision.MS)
    for n in range(int(count))
]
with InfluxDBClient(url=url, token="any", org="any") as client:
    client.write_api(write_options=SYNCHRONOUS).write(bucket="any", record=points, write_precision=WritePrecision.MS)
