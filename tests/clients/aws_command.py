"""Does one command with AWS's request-response client (awscrt), which AWS's device SDKs build their clients
for commands on: HOST PORT VERSION DEVICE. Topics and payloads are those of the SDKs' IotCommandsClientV2.

Then a second end is said, which must be rejected."""

import json
import sys
import threading

from awscrt import io, mqtt, mqtt5, mqtt_request_response as rr

host, port, version, device = sys.argv[1:]
prefix = f"$aws/commands/things/{device}/executions"
heard, requests = threading.Event(), []


def connect():
    bootstrap = io.ClientBootstrap.get_or_create_static_default()
    if version == "3.1.1":
        connection = mqtt.Connection(mqtt.Client(bootstrap), client_id=device, host_name=host, port=int(port))
        connection.connect().result(30)
        return connection
    connected = threading.Event()
    options = mqtt5.ClientOptions(
        host_name=host,
        port=int(port),
        connect_options=mqtt5.ConnectPacket(client_id=device),
        on_lifecycle_event_connection_success_fn=lambda _success: connected.set(),
    )
    client = mqtt5.Client(options)
    client.start()
    assert connected.wait(30), "no connection"
    return client


def update(client, execution, **response):
    """UpdateCommandExecution, as the SDKs send it."""
    topic = f"{prefix}/{execution}/response"
    accepted, rejected = f"{topic}/accepted/json", f"{topic}/rejected/json"
    payload = {"executionId": execution, "deviceType": "things", "deviceId": device, **response}
    options = rr.RequestOptions(
        subscription_topic_filters=[accepted, rejected],
        response_paths=[rr.ResponsePath(accepted), rr.ResponsePath(rejected)],
        publish_topic=f"{topic}/json",
        payload=json.dumps(payload).encode(),
    )
    answer = client.make_request(options).result(30)
    return answer.topic == accepted, json.loads(answer.payload)


def on_request(event):
    requests.append((event.topic.split("/")[5], json.loads(event.payload)))
    heard.set()


protocol_client = connect()
client = rr.Client(protocol_client, rr.ClientOptions(max_request_response_subscriptions=4, max_streaming_subscriptions=2))
stream = client.create_stream(
    rr.StreamingOperationOptions(f"{prefix}/+/request/json", lambda _status: None, on_request)
)
stream.open()
assert heard.wait(30), "no command"
execution, request = requests[0]
result = {"did": {"s": request["command"]}, "with": {"s": json.dumps(request["parameters"])}}
assert update(client, execution, status="IN_PROGRESS") == (True, {"executionId": execution})
assert update(client, execution, status="SUCCEEDED", result=result) == (True, {"executionId": execution})
taken, answer = update(client, execution, status="FAILED")
assert not taken and answer["executionId"] == execution, answer
assert answer["error"] == "TerminalStateReached" and answer["errorMessage"], answer
