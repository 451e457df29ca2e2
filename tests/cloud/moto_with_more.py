"""moto's server, with the resource types of our template that its CloudFormation lacks.

    moto_with_more.py -H 127.0.0.1 -p 5000

moto leaves out what it does not know and says that the stack is complete. Each type here is made by a
call of the service's own API at this very server, so boto3 also checks the names and kinds of the
template's properties. This leans on the insides of moto 5.2.5, which is why it is pinned.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import boto3
from moto.cloudformation import parsing
from moto.core.common_models import CloudFormationModel
from moto.server import main

Properties = dict[str, Any]
# What `Ref` gives, and what `Fn::GetAtt` gives by name.
Made = tuple[str, dict[str, str]]

port = "5000"


@functools.cache
def client(service: str, region: str) -> Any:
    return boto3.client(
        service,
        region_name=region,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def camel(node: Any) -> Any:
    """Names as AWS IoT's API has them: `RuleName` → `ruleName`. Values stay."""
    if isinstance(node, list):
        return [camel(each) for each in node]
    if isinstance(node, dict):
        return {key[0].lower() + key[1:]: camel(value) for key, value in node.items()}
    return node


def iot_policy(properties: Properties, name: str, region: str) -> Made:
    """moto has this one, but its `Ref` is not the policy's name."""
    name = properties["PolicyName"]
    document = json.dumps(properties["PolicyDocument"])
    made = client("iot", region).create_policy(policyName=name, policyDocument=document)
    return name, {"Arn": made["policyArn"], "Id": name}


def key(properties: Properties, name: str, region: str) -> Made:
    """moto has this one, but cannot describe a key whose policy came from a template."""
    kms = client("kms", region)
    made = kms.create_key(Description=properties["Description"], Policy=json.dumps(properties["KeyPolicy"]))
    kms.enable_key_rotation(KeyId=made["KeyMetadata"]["KeyId"])
    return made["KeyMetadata"]["KeyId"], {"Arn": made["KeyMetadata"]["Arn"]}


def topic_rule(properties: Properties, name: str, region: str) -> Made:
    rule = properties["RuleName"]
    payload = camel(properties["TopicRulePayload"])
    client("iot", region).create_topic_rule(ruleName=rule, topicRulePayload=payload)
    return rule, {"Arn": f"arn:aws:iot:{region}:123456789012:rule/{rule}"}


def timestream_database(properties: Properties, name: str, region: str) -> Made:
    database = properties.get("DatabaseName", name)
    made = client("timestream-write", region).create_database(DatabaseName=database)
    return database, {"Arn": made["Database"]["Arn"]}


def timestream_table(properties: Properties, name: str, region: str) -> Made:
    retention = {key: int(value) for key, value in properties["RetentionProperties"].items()}
    properties = properties | {"RetentionProperties": retention}
    table = client("timestream-write", region).create_table(**properties)["Table"]
    return f"{table['DatabaseName']}|{table['TableName']}", {"Arn": table["Arn"], "Name": table["TableName"]}


def glue_database(properties: Properties, name: str, region: str) -> Made:
    client("glue", region).create_database(**properties)
    return properties["DatabaseInput"]["Name"], {}


def glue_table(properties: Properties, name: str, region: str) -> Made:
    client("glue", region).create_table(**properties)
    return properties["TableInput"]["Name"], {}


def athena_work_group(properties: Properties, name: str, region: str) -> Made:
    client("athena", region).create_work_group(
        Name=properties["Name"],
        Description=properties["Description"],
        Configuration=properties["WorkGroupConfiguration"],
    )
    return properties["Name"], {}


def alarm(properties: Properties, name: str, region: str) -> Made:
    name = properties.get("AlarmName", name)
    client("cloudwatch", region).put_metric_alarm(AlarmName=name, **properties)
    return name, {"Arn": f"arn:aws:cloudwatch:{region}:123456789012:alarm:{name}"}


def bucket_policy(properties: Properties, name: str, region: str) -> Made:
    bucket = properties["Bucket"]
    client("s3", region).put_bucket_policy(Bucket=bucket, Policy=json.dumps(properties["PolicyDocument"]))
    return bucket, {}


def subscription(properties: Properties, name: str, region: str) -> Made:
    attributes = {}
    if "RawMessageDelivery" in properties:
        attributes["RawMessageDelivery"] = str(properties["RawMessageDelivery"]).lower()
    if "RedrivePolicy" in properties:
        attributes["RedrivePolicy"] = json.dumps(properties["RedrivePolicy"])
    made = client("sns", region).subscribe(
        TopicArn=properties["TopicArn"],
        Protocol=properties["Protocol"],
        Endpoint=properties["Endpoint"],
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return made["SubscriptionArn"], {}


def topic_policy(properties: Properties, name: str, region: str) -> Made:
    policy = json.dumps(properties["PolicyDocument"])
    for topic in properties["Topics"]:
        client("sns", region).set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    return name, {}


def queue_policy(properties: Properties, name: str, region: str) -> Made:
    policy = json.dumps(properties["PolicyDocument"])
    for queue in properties["Queues"]:
        client("sqs", region).set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    return name, {}


def event_invoke_config(properties: Properties, name: str, region: str) -> Made:
    client("lambda", region).put_function_event_invoke_config(**properties)
    return name, {}


def http_api(operation: str, id_name: str) -> Callable[[Properties, str, str], Made]:
    """API Gateway's HTTP APIs: their API has the names of the template."""

    def create(properties: Properties, name: str, region: str) -> Made:
        made = getattr(client("apigatewayv2", region), operation)(**properties)
        return made[id_name], {id_name: made[id_name]}

    return create


TYPES: dict[str, Callable[[Properties, str, str], Made]] = {
    "AWS::IoT::Policy": iot_policy,
    "AWS::IoT::TopicRule": topic_rule,
    "AWS::KMS::Key": key,
    "AWS::Timestream::Database": timestream_database,
    "AWS::Timestream::Table": timestream_table,
    "AWS::Glue::Database": glue_database,
    "AWS::Glue::Table": glue_table,
    "AWS::Athena::WorkGroup": athena_work_group,
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::SQS::QueuePolicy": queue_policy,
    "AWS::Lambda::EventInvokeConfig": event_invoke_config,
    "AWS::ApiGatewayV2::Api": http_api("create_api", "ApiId"),
    "AWS::ApiGatewayV2::Authorizer": http_api("create_authorizer", "AuthorizerId"),
    "AWS::ApiGatewayV2::Integration": http_api("create_integration", "IntegrationId"),
    "AWS::ApiGatewayV2::Route": http_api("create_route", "RouteId"),
    "AWS::ApiGatewayV2::Stage": http_api("create_stage", "StageName"),
}


class Resource(CloudFormationModel):
    """A resource that a stack has made by a call."""

    # moto takes a model's service from its module's name.
    __module__ = "moto.cloudformation.models"

    def __init__(self, reference: str, attributes: dict[str, str]):
        self.physical_resource_id = reference
        self.attributes = attributes

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @staticmethod
    def cloudformation_type() -> str:
        return "Fieldline::Test::Resource"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return True

    def get_cfn_attribute(self, attribute: str) -> str:
        return self.attributes[attribute]

    @classmethod
    def create_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs):
        create = TYPES[kwargs["ResourceType"]]
        return Resource(*create(cloudformation_json["Properties"], resource_name, region_name))

    @classmethod
    def delete_from_cloudformation_json(cls, resource_name, cloudformation_json, account_id, region_name):
        """What holds data stays with us, and an emulator's rest goes with the emulator."""


def register() -> None:
    """Puts our types before moto's own, and `AWS::NoValue` in lists right, which moto leaves as a hole."""
    known = parsing.resource_class_from_type
    cleaned = parsing.clean_json

    def resource_class(resource_type: str) -> Any:
        found = Resource if resource_type in TYPES else known(resource_type)
        if found is None:
            raise ValueError(f"neither moto nor moto_with_more.py can make {resource_type}")
        return found

    def clean_json(node: Any, resources: Any) -> Any:
        found = cleaned(node, resources)
        return [each for each in found if each is not None] if isinstance(found, list) else found

    parsing.resource_class_from_type = resource_class
    parsing.clean_json = clean_json


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "-p" in arguments:
        port = arguments[arguments.index("-p") + 1]
    register()
    main(arguments)
