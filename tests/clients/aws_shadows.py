"""Device shadows with AWS's own clients, boto3 and the aws command: URL THING."""

import json
import os
import subprocess
import sys
import tempfile

from aws_local import AWS, equal, iot_data, refused

url, thing = sys.argv[1:]
iot = iot_data(url)


def document(**request):
    return json.dumps(request)


def read(answer):
    return json.loads(answer["payload"].read())


def boto3_works(which, called):
    missing = refused("ResourceNotFoundException", 404, iot.get_thing_shadow, **which)
    equal(missing, f"No shadow exists with name: '{called}'")
    refused("ResourceNotFoundException", 404, iot.delete_thing_shadow, **which)

    state = {"desired": {"speed": 3, "lamps": [1, 2]}, "reported": {"speed": 2}}
    taken = read(iot.update_thing_shadow(**which, payload=document(state=state, clientToken="t-1")))
    equal((taken["state"], taken["version"], taken["clientToken"]), (state, 1, "t-1"))
    equal(set(taken["metadata"]["desired"]["speed"]), {"timestamp"})
    found = read(iot.get_thing_shadow(**which))
    equal(found["state"], {**state, "delta": {"speed": 3, "lamps": [1, 2]}})
    equal(found["version"], 1)

    change = {"reported": {"speed": 3, "lamps": [1, 2]}}
    equal(read(iot.update_thing_shadow(**which, payload=document(state=change, version=1)))["version"], 2)
    equal(read(iot.get_thing_shadow(**which))["state"], {"desired": state["desired"], **change})
    stale = dict(payload=document(state={"desired": {"speed": 9}}, version=1), **which)
    equal(refused("ConflictException", 409, iot.update_thing_shadow, **stale), "Version conflict")

    for payload, message in [
        (b"{", "Invalid JSON"),
        (b"{}", "Missing required node: state"),
        (b'{"state": 1}', "State node must be an object"),
        (b'{"state": {"wanted": {}}}', "State contains an invalid node"),
        (document(state={"desired": {"a": [None]}}), "State contains an invalid node"),
        (document(state={}, clientToken="x" * 65), "Invalid clientToken"),
    ]:
        told = refused("InvalidRequestException", 400, iot.update_thing_shadow, payload=payload, **which)
        equal(told, message)
    encoding = dict(payload=b'{"state": {"desired": {"a": "\xff"}}}', **which)
    refused("UnsupportedDocumentEncodingException", 415, iot.update_thing_shadow, **encoding)
    large = dict(payload=document(state={"desired": {"text": "x" * 8192}}), **which)
    refused("RequestEntityTooLargeException", 413, iot.update_thing_shadow, **large)
    equal(read(iot.get_thing_shadow(**which))["version"], 2)

    gone = read(iot.delete_thing_shadow(**which))
    assert gone["timestamp"] > 0 and "version" in gone, gone
    refused("ResourceNotFoundException", 404, iot.get_thing_shadow, **which)
    again = read(iot.update_thing_shadow(**which, payload=document(state={"desired": {"speed": 1}})))
    assert again["version"] > 2, f"a shadow that is made again goes on with its version, not with {again}"
    iot.delete_thing_shadow(**which)


def pages_work():
    names = sorted(f"shadow-{n:02}" for n in range(25))
    for name in names:
        update = document(state={"reported": {"name": name}})
        iot.update_thing_shadow(thingName=thing, shadowName=name, payload=update)
    iot.update_thing_shadow(thingName=thing, payload=document(state={"reported": {"classic": True}}))
    found, sizes, token = [], [], {}
    while True:
        page = iot.list_named_shadows_for_thing(thingName=thing, pageSize=10, **token)
        assert page["timestamp"] > 0, page
        found += page["results"]
        sizes.append(len(page["results"]))
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    equal((sorted(found), sizes), (names, [10, 10, 5]))
    equal(iot.list_named_shadows_for_thing(thingName=f"{thing}-nobody")["results"], [])
    wrong = dict(thingName=thing, nextToken="%")
    refused("InvalidRequestException", 400, iot.list_named_shadows_for_thing, **wrong)
    for name in names:
        iot.delete_thing_shadow(thingName=thing, shadowName=name)
    iot.delete_thing_shadow(thingName=thing)


def command(*arguments, outfile=None):
    """Runs `aws iot-data …` and gives its exit code, its errors and what it wrote."""
    line = [AWS, "iot-data", *arguments, "--endpoint-url", url]
    if outfile:
        line.append(outfile)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    if not outfile or done.returncode:
        return done.returncode, done.stderr, done.stdout
    with open(outfile, encoding="utf-8") as written:
        return done.returncode, done.stderr, written.read()


def the_command_works(folder):
    outfile = os.path.join(folder, "shadow.json")
    for which in (["--thing-name", thing], ["--thing-name", thing, "--shadow-name", "mode"]):
        update = document(state={"desired": {"on": True}})
        code, errors, text = command("update-thing-shadow", *which, "--payload", update, outfile=outfile)
        equal((code, errors), (0, ""))
        equal(json.loads(text)["state"], {"desired": {"on": True}})
        code, errors, text = command("get-thing-shadow", *which, outfile=outfile)
        equal((code, json.loads(text)["state"]["delta"]), (0, {"on": True}))
        if "--shadow-name" in which:
            code, errors, text = command("list-named-shadows-for-thing", "--thing-name", thing)
            equal((code, json.loads(text)["results"]), (0, ["mode"]))
        equal(command("delete-thing-shadow", *which, outfile=outfile)[0], 0)
        code, errors, _ = command("get-thing-shadow", *which, outfile=outfile)
        assert code and "ResourceNotFoundException" in errors, (code, errors)


boto3_works({"thingName": thing}, thing)
boto3_works({"thingName": thing, "shadowName": "mode"}, f"{thing}~mode")
pages_work()
with tempfile.TemporaryDirectory() as scratch:
    the_command_works(scratch)
