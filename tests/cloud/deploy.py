"""Deploys the template into an emulator of AWS and looks whether everything is there.

    deploy.py http://localhost:5000 s3 [--stack NAME] [--packages DIR] [--reset] [--destroy] [--out FILE]

The emulator is `moto_with_more.py`; its address has to be spelt `localhost`, since moto knows its own
S3 by that word only. Every resource of the store's deployment is then asked for by its service's own
API, every function's settings are compared with what its code reads, and `--destroy` deletes the stack
and looks whether what holds data is still there. Ends with 1 and a list of what is wrong.

`--packages` has `<function>.zip` with the real binaries; without it a stand-in is uploaded. `--out`
takes the stack's outputs and the functions' settings as JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError, ParamValidationError

import template as reading

REGION = "us-east-1"
BUCKET = "fieldline-deployments"

# What the code reads: each of these has to be set, and nothing else of Fieldline's may be.
STORE_SETTINGS = {
    "timestream": {"FIELDLINE_TIMESTREAM_DATABASE", "FIELDLINE_TIMESTREAM_TABLE"},
    "s3": {"FIELDLINE_READINGS_BUCKET"},
    "influxdb": {
        "FIELDLINE_INFLUX_URL",
        "FIELDLINE_INFLUX_DATABASE",
        "FIELDLINE_INFLUX_ORG",
        "FIELDLINE_INFLUX_DIALECT",
        "FIELDLINE_INFLUX_TOKEN_SECRET",
    },
}
LEDGER = {"FIELDLINE_LEDGER_TABLE", "FIELDLINE_QUARANTINE_BUCKET", "FIELDLINE_LOG"}


def expected_settings(function: str, store: str) -> set[str]:
    return {
        "ingest": LEDGER | {"FIELDLINE_BLOCKS_TOPIC_ARN", "FIELDLINE_IOT_ENDPOINT"},
        "storage": LEDGER | {"FIELDLINE_STORE", "FIELDLINE_IOT_ENDPOINT"} | STORE_SETTINGS[store],
        "query": LEDGER | {"FIELDLINE_STORE"} | STORE_SETTINGS[store],
        "compact": {"FIELDLINE_READINGS_BUCKET", "FIELDLINE_LOG"},
        "shadow": {"FIELDLINE_IOT_ENDPOINT", "FIELDLINE_LOG"},
        "rules": {
            "FIELDLINE_IOT_ENDPOINT",
            "FIELDLINE_LOG",
            "FIELDLINE_RULES_BUCKET",
            "FIELDLINE_RULES_HISTORY_DAYS",
            "FIELDLINE_RULES_TABLE",
            "FIELDLINE_RULES_TOPIC_ARN",
        },
    }[function]


class Cloud:
    """Clients of one emulator."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.session = boto3.Session("test", "test", region_name=REGION)
        self.clients: dict[str, Any] = {}

    def __getitem__(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = self.session.client(service, endpoint_url=self.endpoint)
        return self.clients[service]


def stand_in() -> bytes:
    """A zip with a `bootstrap` that does nothing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, "#!/bin/sh\nexit 1\n")
    return buffer.getvalue()


def deploy(cloud: Cloud, store: str, stack: str, packages: Path | None) -> dict[str, Any]:
    """Uploads, creates the stack, and returns what it should consist of."""
    source = reading.load()
    values = reading.parameters(store, source)
    expanded = reading.expand(source, values, f"s3://{BUCKET}")
    storage = cloud["s3"]
    storage.create_bucket(Bucket=BUCKET)
    for function in ["ingest", "storage", "query", "compact", "shadow", "rules"]:
        package = packages / f"{function}.zip" if packages else None
        body = package.read_bytes() if package and package.exists() else stand_in()
        storage.put_object(Bucket=BUCKET, Key=f"{function}.zip", Body=body)
    storage.put_object(Bucket=BUCKET, Key="template.json", Body=json.dumps(expanded).encode())
    formation = cloud["cloudformation"]
    formation.create_stack(
        StackName=stack,
        TemplateURL=f"{cloud.endpoint}/{BUCKET}/template.json",
        Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in values.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    formation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    return reading.deployed(store, source, f"s3://{BUCKET}")[0]["Resources"]


def http_api_part(operation: str, parameter: str) -> Callable[..., Any]:
    return lambda cloud, id, of: getattr(cloud["apigatewayv2"], operation)(ApiId=of["Api"], **{parameter: id})



# How each kind of resource is asked for: the emulator, the physical id, the physical ids of the others
# by logical id. Whatever raises or is false is a resource that is not there.
LOOK: dict[str, Callable[[Cloud, str, dict[str, str]], Any]] = {
    "AWS::ApiGatewayV2::Api": lambda cloud, id, of: cloud["apigatewayv2"].get_api(ApiId=id),
    "AWS::ApiGatewayV2::Authorizer": http_api_part("get_authorizer", "AuthorizerId"),
    "AWS::ApiGatewayV2::Integration": http_api_part("get_integration", "IntegrationId"),
    "AWS::ApiGatewayV2::Route": http_api_part("get_route", "RouteId"),
    "AWS::ApiGatewayV2::Stage": http_api_part("get_stage", "StageName"),
    "AWS::Athena::WorkGroup": lambda cloud, id, of: cloud["athena"].get_work_group(WorkGroup=id),
    "AWS::CloudWatch::Alarm": lambda cloud, id, of: cloud["cloudwatch"].describe_alarms(AlarmNames=[id])["MetricAlarms"],
    "AWS::CloudWatch::Dashboard": lambda cloud, id, of: json.loads(
        cloud["cloudwatch"].get_dashboard(DashboardName=id)["DashboardBody"]
    )["widgets"],
    "AWS::DynamoDB::Table": lambda cloud, id, of: cloud["dynamodb"].describe_table(TableName=id),
    "AWS::Events::Rule": lambda cloud, id, of: cloud["events"].list_targets_by_rule(Rule=id)["Targets"],
    "AWS::Glue::Database": lambda cloud, id, of: cloud["glue"].get_database(Name=id),
    "AWS::Glue::Table": lambda cloud, id, of: cloud["glue"].get_table(DatabaseName=of["ReadingsDatabase"], Name=id),
    "AWS::IAM::ManagedPolicy": lambda cloud, id, of: cloud["iam"].get_policy(PolicyArn=id),
    "AWS::IAM::Role": lambda cloud, id, of: cloud["iam"].list_role_policies(RoleName=id)["PolicyNames"],
    "AWS::IoT::Policy": lambda cloud, id, of: cloud["iot"].get_policy(policyName=id),
    "AWS::IoT::TopicRule": lambda cloud, id, of: cloud["iot"].get_topic_rule(ruleName=id)["rule"]["errorAction"],
    "AWS::KMS::Key": lambda cloud, id, of: cloud["kms"].describe_key(KeyId=id),
    "AWS::Lambda::EventInvokeConfig": lambda cloud, id, of: True,  # with its function, below
    "AWS::Lambda::EventSourceMapping": lambda cloud, id, of: cloud["lambda"].get_event_source_mapping(UUID=id),
    "AWS::Lambda::Function": lambda cloud, id, of: cloud["lambda"].get_function(FunctionName=id),
    "AWS::Lambda::Permission": lambda cloud, id, of: True,  # with its function, below
    "AWS::Logs::LogGroup": lambda cloud, id, of: [
        group
        for group in cloud["logs"].describe_log_groups(logGroupNamePrefix=id)["logGroups"]
        if group["retentionInDays"]
    ],
    "AWS::S3::Bucket": lambda cloud, id, of: cloud["s3"].head_bucket(Bucket=id),
    "AWS::S3::BucketPolicy": lambda cloud, id, of: cloud["s3"].get_bucket_policy(Bucket=id)["Policy"],
    "AWS::SNS::Subscription": lambda cloud, id, of: cloud["sns"].get_subscription_attributes(SubscriptionArn=id),
    "AWS::SNS::Topic": lambda cloud, id, of: cloud["sns"].get_topic_attributes(TopicArn=id),
    "AWS::SNS::TopicPolicy": lambda cloud, id, of: cloud["sns"].get_topic_attributes(TopicArn=of["AlarmTopic"])[
        "Attributes"
    ]["Policy"],
    "AWS::SQS::Queue": lambda cloud, id, of: cloud["sqs"].get_queue_attributes(QueueUrl=id, AttributeNames=["All"]),
    "AWS::SQS::QueuePolicy": lambda cloud, id, of: True,  # with its queue, below
    "AWS::Timestream::Database": lambda cloud, id, of: cloud["timestream-write"].describe_database(DatabaseName=id),
    "AWS::Timestream::Table": lambda cloud, id, of: cloud["timestream-write"].describe_table(
        DatabaseName=id.split("|")[0], TableName=id.split("|")[1]
    ),
}


def missing(cloud: Cloud, wanted: dict[str, Any], ids: dict[str, str]) -> list[str]:
    """Resources that are not there, each with what its service says."""
    faults = []
    for name, resource in wanted.items():
        kind = resource["Type"]
        if kind not in LOOK:
            faults.append(f"{name}: deploy.py does not know how to look for a {kind}")
        elif name not in ids:
            faults.append(f"{name}: the stack has made no {kind}")
        else:
            try:
                if not LOOK[kind](cloud, ids[name], ids):
                    faults.append(f"{name}: the {kind} {ids[name]} is empty")
            except (ClientError, ParamValidationError, KeyError) as error:
                faults.append(f"{name}: {kind} {ids[name]}: {error!r}")
    return faults


def attached(cloud: Cloud, wanted: dict[str, Any], ids: dict[str, str]) -> list[str]:
    """What has no identity of its own: permissions and failure destinations, queues' policies."""
    faults = []
    for name, resource in wanted.items():
        properties = resource.get("Properties", {})
        try:
            if resource["Type"] == "AWS::Lambda::Permission":
                function = ids[properties["FunctionName"]["Ref"]]
                policy = cloud["lambda"].get_policy(FunctionName=function)["Policy"]
                if properties["Principal"] not in policy:
                    faults.append(f"{name}: {properties['Principal']} may not invoke {function}")
            if resource["Type"] == "AWS::Lambda::EventInvokeConfig":
                function = ids[properties["FunctionName"]["Ref"]]
                config = cloud["lambda"].get_function_event_invoke_config(FunctionName=function)
                if not config["DestinationConfig"]["OnFailure"]["Destination"].startswith("arn:aws:sqs:"):
                    faults.append(f"{name}: {function} has nowhere to put what fails")
            if resource["Type"] == "AWS::SQS::QueuePolicy":
                queue = ids[properties["Queues"][0]["Ref"]]
                found = cloud["sqs"].get_queue_attributes(QueueUrl=queue, AttributeNames=["Policy"])
                if "Policy" not in found.get("Attributes", {}):
                    faults.append(f"{name}: {queue} has no policy")
        except (ClientError, ParamValidationError, KeyError) as error:
            faults.append(f"{name}: {error!r}")
    return faults


def settings(cloud: Cloud, store: str, ids: dict[str, str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """The functions' environments, and what is wrong with them."""
    found, faults = {}, []
    for function in ["ingest", "storage", "query", "shadow", "rules"] + (["compact"] if store == "s3" else []):
        id = ids[f"{function.capitalize()}Function"]
        config = cloud["lambda"].get_function_configuration(FunctionName=id)
        # moto leaves a number of the template a number.
        variables = {name: str(value) for name, value in config["Environment"]["Variables"].items()}
        ours = {name for name in variables if name.startswith("FIELDLINE_")}
        faults += [f"{function}: {name} is not set" for name in sorted(expected_settings(function, store) - ours)]
        faults += [f"{function}: {name} is set for nothing" for name in sorted(ours - expected_settings(function, store))]
        faults += [
            f"{function}: {name} = {value!r}"
            for name, value in variables.items()
            if not value or "${" in value or "{'" in value
        ]
        found[function] = variables
    return found, faults


def chain(cloud: Cloud, ids: dict[str, str]) -> list[str]:
    """Whether a block that ingest publishes twice reaches the queue once, as it is."""
    # moto would hand messages to the function by itself, one by one, and drop those that fail. Whoever
    # runs the functions against this emulator polls the queue.
    cloud["lambda"].update_event_source_mapping(UUID=ids["StorageFunctionBlocks"], Enabled=False)
    for _ in range(2):
        cloud["sns"].publish(
            TopicArn=ids["BlocksTopic"],
            Message="YmxvY2s=",
            MessageGroupId="gw-1",
            MessageDeduplicationId="0" * 64,
            MessageAttributes={"gateway": {"DataType": "String", "StringValue": "gw-1"}},
        )
    received = cloud["sqs"].receive_message(
        QueueUrl=ids["BlocksQueue"],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
        AttributeNames=["All"],
    ).get("Messages", [])
    for message in received:
        cloud["sqs"].delete_message(QueueUrl=ids["BlocksQueue"], ReceiptHandle=message["ReceiptHandle"])
    found = [
        (
            message["Body"],
            message["Attributes"].get("MessageGroupId"),
            message.get("MessageAttributes", {}).get("gateway", {}).get("StringValue"),
        )
        for message in received
    ]
    wanted = [("YmxvY2s=", "gw-1", "gw-1")]
    return [] if found == wanted else [f"from the topic came {found}, not {wanted}"]


def destroy(cloud: Cloud, stack: str, wanted: dict[str, Any], ids: dict[str, str]) -> list[str]:
    """Deletes the stack; what holds data has to be there afterwards, the functions not."""
    formation = cloud["cloudformation"]
    formation.delete_stack(StackName=stack)
    formation.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    kept = {name: resource for name, resource in wanted.items() if resource.get("DeletionPolicy") == "Retain"}
    faults = [f"lost with the stack: {fault}" for fault in missing(cloud, kept, ids)]
    left = cloud["lambda"].list_functions()["Functions"]
    return faults + [f"left behind: the function {function['FunctionName']}" for function in left]


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("endpoint")
    arguments.add_argument("store", choices=sorted(STORE_SETTINGS))
    arguments.add_argument("--stack", default="fieldline")
    arguments.add_argument("--packages", type=Path)
    arguments.add_argument("--reset", action="store_true", help="begin with an empty emulator")
    arguments.add_argument("--destroy", action="store_true", help="delete the stack at the end")
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()

    if given.reset:
        urllib.request.urlopen(f"{given.endpoint}/moto-api/reset", data=b"", timeout=30).close()
    cloud = Cloud(given.endpoint)
    wanted = deploy(cloud, given.store, given.stack, given.packages)
    formation = cloud["cloudformation"]
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=given.stack)
    ids = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
    }
    variables, faults = settings(cloud, given.store, ids)
    faults += missing(cloud, wanted, ids) + attached(cloud, wanted, ids)
    faults += chain(cloud, ids)
    outputs = {
        output["OutputKey"]: output["OutputValue"]
        for output in formation.describe_stacks(StackName=given.stack)["Stacks"][0].get("Outputs", [])
    }
    if given.out:
        given.out.write_text(json.dumps({"outputs": outputs, "settings": variables, "resources": ids}, indent=2))
    if given.destroy:
        faults += destroy(cloud, given.stack, wanted, ids)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{given.store}: {len(wanted)} resources, {len(outputs)} outputs, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
