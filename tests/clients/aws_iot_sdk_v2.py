"""Device shadows with AWS's device SDK v2 as the device: HOST PORT FOLDER THING VERSION URL.

FOLDER holds ca.pem, THING.pem and THING.key; VERSION is 5 or 3.1.1. URL is the server's HTTP listener,
where boto3 is the application that the device listens to.
"""

import json
import os
import queue
import sys

from aws_local import equal, iot_data

import awsiot
from awscrt import mqtt, mqtt_request_response
from awsiot import iotshadow, mqtt5_client_builder, mqtt_connection_builder

PATIENCE_S = 30
QOS = mqtt.QoS.AT_LEAST_ONCE

host, port, folder, thing, version, url = sys.argv[1:]
application = iot_data(url)
identity = dict(
    endpoint=host,
    port=int(port),
    ca_filepath=os.path.join(folder, "ca.pem"),
    cert_filepath=os.path.join(folder, f"{thing}.pem"),
    pri_key_filepath=os.path.join(folder, f"{thing}.key"),
    client_id=thing,
)


class Connection:
    """One connection of the thing; `client` is what the shadow clients are made of."""

    def __init__(self):
        self.stopped = queue.Queue()
        if version == "5":
            outcome = queue.Queue()
            self.client = mqtt5_client_builder.mtls_from_path(
                **identity,
                on_lifecycle_connection_success=lambda _: outcome.put("connected"),
                on_lifecycle_connection_failure=lambda failure: outcome.put(failure.exception),
                on_lifecycle_stopped=lambda _: self.stopped.put(True),
            )
            self.client.start()
            equal(outcome.get(timeout=PATIENCE_S), "connected")
        else:
            self.client = mqtt_connection_builder.mtls_from_path(**identity, clean_session=True, keep_alive_secs=30)
            self.client.connect().result(PATIENCE_S)

    def close(self):
        if version == "5":
            self.client.stop()
            self.stopped.get(timeout=PATIENCE_S)
        else:
            self.client.disconnect().result(PATIENCE_S)


class Shadow:
    """The names that the SDK has for the classic shadow, or for a named one."""

    def __init__(self, name):
        self.which = {"thing_name": thing, **({"shadow_name": name} if name else {})}
        self.http = {"thingName": thing, **({"shadowName": name} if name else {})}
        self.called = f"{thing}~{name}" if name else thing
        self.noun, self.kind = ("named_shadow", "NamedShadow") if name else ("shadow", "Shadow")

    def request(self, kind, **fields):
        return getattr(iotshadow, kind.replace("Shadow", self.kind))(**self.which, **fields)

    def method(self, client, name):
        return getattr(client, name.replace("shadow", self.noun))

    def changed_by_application(self, **state):
        application.update_thing_shadow(**self.http, payload=json.dumps({"state": state}))


class Replies:
    """Requests through `IotShadowClientV2`, which waits for the reply with its token."""

    def __init__(self, connection, shadow):
        self.shadow = shadow
        options = mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=4, max_streaming_subscriptions=4, operation_timeout_in_seconds=PATIENCE_S
        )
        self.client = iotshadow.IotShadowClientV2(connection.client, options)
        self.deltas, self.documents = queue.Queue(), queue.Queue()
        self.streams = [
            self.stream("create_shadow_delta_updated_stream", "ShadowDeltaUpdatedSubscriptionRequest", self.deltas),
            self.stream("create_shadow_updated_stream", "ShadowUpdatedSubscriptionRequest", self.documents),
        ]

    def stream(self, method, request, events):
        status = queue.Queue()
        options = awsiot.ServiceStreamOptions(
            incoming_event_listener=events.put,
            subscription_status_listener=status.put,
            deserialization_failure_listener=events.put,
        )
        stream = self.shadow.method(self.client, method)(self.shadow.request(request), options)
        stream.open()
        established = mqtt_request_response.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED
        equal(status.get(timeout=PATIENCE_S).type, established)
        return stream

    def call(self, operation, **fields):
        request = self.shadow.request(f"{operation.capitalize()}ShadowRequest", **fields)
        method = self.shadow.method(self.client, f"{operation}_shadow")
        try:
            reply = method(request).result(PATIENCE_S)
        except awsiot.V2ServiceException as error:
            assert error.modeled_error, f"{operation}: {error.message}: {error.inner_error}"
            reply = error.modeled_error
        equal(reply.client_token, request.client_token)
        return reply


class Topics:
    """Requests through `IotShadowClient`, which subscribes and publishes apart."""

    def __init__(self, connection, shadow):
        self.shadow, self.client = shadow, iotshadow.IotShadowClient(connection.client)
        self.deltas, self.documents, self.replies, self.asked = queue.Queue(), queue.Queue(), queue.Queue(), 0
        self.subscribe("subscribe_to_shadow_delta_updated_events", "ShadowDeltaUpdatedSubscriptionRequest", self.deltas)
        self.subscribe("subscribe_to_shadow_updated_events", "ShadowUpdatedSubscriptionRequest", self.documents)
        for operation in ("get", "update", "delete"):
            for answer in ("accepted", "rejected"):
                method = f"subscribe_to_{operation}_shadow_{answer}"
                self.subscribe(method, f"{operation.capitalize()}ShadowSubscriptionRequest", self.replies)

    def subscribe(self, method, request, events):
        subscribe = self.shadow.method(self.client, method)
        subscribed, _ = subscribe(self.shadow.request(request), QOS, events.put)
        subscribed.result(PATIENCE_S)

    def call(self, operation, **fields):
        self.asked += 1
        token = f"token-{self.asked}"
        request = self.shadow.request(f"{operation.capitalize()}ShadowRequest", client_token=token, **fields)
        self.shadow.method(self.client, f"publish_{operation}_shadow")(request, QOS).result(PATIENCE_S)
        reply = self.replies.get(timeout=PATIENCE_S)
        equal(reply.client_token, token)
        return reply


def refused(reply, code, message):
    assert isinstance(reply, (iotshadow.ErrorResponse, iotshadow.V2ErrorResponse)), vars(reply)
    equal((reply.code, reply.message), (code, message))


def both(state):
    return state.desired, state.reported


def device_works(device, shadow):
    nothing = f"No shadow exists with name: '{shadow.called}'"
    refused(device.call("get"), 404, nothing)
    refused(device.call("delete"), 404, nothing)

    desired, reported = {"speed": 3, "lamp": {"on": True}}, {"speed": 2, "lamp": {"on": True}}
    taken = device.call("update", state=iotshadow.ShadowState(desired=desired, reported=reported))
    equal(both(taken.state), (desired, reported))
    first = taken.version
    delta = device.deltas.get(timeout=PATIENCE_S)
    equal((delta.state, delta.version), ({"speed": 3}, first))
    assert delta.metadata["speed"]["timestamp"] > 0, delta.metadata
    told = device.documents.get(timeout=PATIENCE_S)
    equal((both(told.current.state), told.current.version), ((desired, reported), first))
    found = device.call("get")
    equal((both(found.state), found.state.delta, found.version), ((desired, reported), {"speed": 3}, first))
    assert found.metadata.reported["lamp"]["on"]["timestamp"] > 0, found.metadata

    shadow.changed_by_application(desired={"speed": 4})
    delta = device.deltas.get(timeout=PATIENCE_S)
    equal((delta.state, delta.version), ({"speed": 4}, first + 1))
    told = device.documents.get(timeout=PATIENCE_S)
    equal((told.previous.state.desired["speed"], told.current.state.desired["speed"]), (3, 4))
    equal((told.previous.version, told.current.version), (first, first + 1))

    taken = device.call("update", state=iotshadow.ShadowState(reported={"speed": 4}), version=first + 1)
    equal((both(taken.state), taken.version), ((None, {"speed": 4}), first + 2))
    equal(device.call("get").state.delta, None)
    stale = device.call("update", state=iotshadow.ShadowState(reported={"speed": 9}), version=first)
    refused(stale, 409, "Version conflict")

    device.call("update", state=iotshadow.ShadowState(desired=None, desired_is_nullable=True))
    found = device.call("get")
    equal(both(found.state), (None, {"speed": 4, "lamp": {"on": True}}))
    large = device.call("update", state=iotshadow.ShadowState(reported={"text": "x" * 8192}))
    refused(large, 413, "The payload exceeds the maximum size allowed")

    gone = device.call("delete")
    assert gone.version >= found.version and gone.timestamp, vars(gone)
    refused(device.call("get"), 404, nothing)
    assert device.deltas.empty(), vars(device.deltas.get())


for client in (Replies, Topics):
    for name in (None, "config"):
        connection, shadow = Connection(), Shadow(name)
        device_works(client(connection, shadow), shadow)
        connection.close()
        print(f"{client.__name__} {name or 'classic'}: as at AWS")

if version == "3.1.1":
    # Everything is checked by now. awscrt 0.36.1 often aborts when the interpreter takes it down after
    # IotShadowClientV2 has used an MQTT 3.1.1 connection ("malloc_consolidate()", 6 of 15 runs; with MQTT 5,
    # and with IotShadowClient, none). Why is not known; how a process ends is no part of this test.
    print("not checked: that awscrt is taken down well")
    sys.stdout.flush()
    os._exit(0)
