"""The classic shadow with AWS's device SDK v1 as the device: HOST PORT FOLDER THING URL.

FOLDER holds ca.pem, THING.pem and THING.key. URL is the server's HTTP listener, where boto3 is the
application that the device listens to.
"""

import json
import os
import queue
import sys

from aws_local import equal, iot_data

from AWSIoTPythonSDK.MQTTLib import AWSIoTMQTTShadowClient

PATIENCE_S = 30

host, port, folder, thing, url = sys.argv[1:]
application = iot_data(url)
heard, deltas = queue.Queue(), queue.Queue()


def reply(payload, status, token):
    heard.put((status, json.loads(payload) if status != "timeout" else None, token))


def expect(status, token):
    told = heard.get(timeout=PATIENCE_S)
    equal((told[0], told[2]), (status, token))
    equal(told[1]["clientToken"], token)
    return told[1]


client = AWSIoTMQTTShadowClient(thing)
client.configureEndpoint(host, int(port))
client.configureCredentials(
    os.path.join(folder, "ca.pem"), os.path.join(folder, f"{thing}.key"), os.path.join(folder, f"{thing}.pem")
)
client.configureConnectDisconnectTimeout(PATIENCE_S)
client.configureMQTTOperationTimeout(PATIENCE_S)
assert client.connect(), "not connected"
shadow = client.createShadowHandlerWithName(thing, True)
shadow.shadowRegisterDeltaCallback(lambda payload, *_: deltas.put(json.loads(payload)))

missing = expect("rejected", shadow.shadowGet(reply, PATIENCE_S))
equal((missing["code"], missing["message"]), (404, f"No shadow exists with name: '{thing}'"))

state = {"desired": {"speed": 3}, "reported": {"speed": 3}}
taken = expect("accepted", shadow.shadowUpdate(json.dumps({"state": state}), reply, PATIENCE_S))
equal(taken["state"], state)
first = taken["version"]
found = expect("accepted", shadow.shadowGet(reply, PATIENCE_S))
equal((found["state"], found["version"]), (state, first))

application.update_thing_shadow(thingName=thing, payload=json.dumps({"state": {"desired": {"speed": 4}}}))
delta = deltas.get(timeout=PATIENCE_S)
equal((delta["state"], delta["version"]), ({"speed": 4}, first + 1))
report = json.dumps({"state": {"reported": {"speed": 4}}})
expect("accepted", shadow.shadowUpdate(report, reply, PATIENCE_S))
found = expect("accepted", shadow.shadowGet(reply, PATIENCE_S))
equal(found["state"], {"desired": {"speed": 4}, "reported": {"speed": 4}})

stale = json.dumps({"state": {"reported": {"speed": 9}}, "version": first})
conflict = expect("rejected", shadow.shadowUpdate(stale, reply, PATIENCE_S))
equal((conflict["code"], conflict["message"]), (409, "Version conflict"))
expect("accepted", shadow.shadowDelete(reply, PATIENCE_S))
equal(expect("rejected", shadow.shadowDelete(reply, PATIENCE_S))["code"], 404)
assert deltas.empty(), deltas.get()

shadow.shadowUnregisterDeltaCallback()
client.disconnect()
print("the classic shadow: as at AWS")
