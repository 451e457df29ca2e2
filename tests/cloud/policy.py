"""Our own rules over the template, expanded for each store; and a test of the rules.

    policy.py               checks the template
    policy.py --self-test   breaks the template in each way and looks that the rule sees it

Linters know whether a template is valid; they do not know what we promise: least privilege, nothing
unencrypted, nothing that fails unseen, no data that goes with the stack.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import template as reading

Resources = dict[str, Any]
Faults = Iterator[str]

# Actions for which AWS knows no resource but "*".
NO_RESOURCE = {"timestream:DescribeEndpoints", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}

HOLDS_DATA = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Timestream::Database", "AWS::Timestream::Table"}


def of_type(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in resources.items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(node: Any) -> Iterator[dict[str, Any]]:
    """Every policy statement below a node."""
    if isinstance(node, list):
        for each in node:
            yield from statements(each)
    elif isinstance(node, dict):
        if "Effect" in node:
            yield node
        else:
            for each in node.values():
                yield from statements(each)


def allowing(resources: Resources) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, resource in resources.items():
        for statement in statements(resource.get("Properties", {})):
            if statement["Effect"] == "Allow":
                yield name, resource["Type"], statement


def target(value: Any) -> str | None:
    """The logical id that a `Ref` or `Fn::GetAtt` names."""
    if isinstance(value, dict) and "Ref" in value:
        return value["Ref"]
    if isinstance(value, dict) and "Fn::GetAtt" in value:
        return listed(value["Fn::GetAtt"])[0].split(".")[0]
    return None


def no_wildcard_action(resources: Resources) -> Faults:
    for name, _, statement in allowing(resources):
        if "NotAction" in statement or "NotResource" in statement:
            yield f"{name}: says what is not allowed and so allows the rest"
        for action in listed(statement.get("Action", [])):
            if "*" in action:
                yield f"{name}: allows {action}"


def no_wildcard_resource(resources: Resources) -> Faults:
    for name, kind, statement in allowing(resources):
        if kind == "AWS::KMS::Key" or "Resource" not in statement:
            continue  # in a key's policy "*" is that key; a role's trust has no resource
        if set(listed(statement["Action"])) <= NO_RESOURCE:
            continue
        for resource in listed(statement["Resource"]):
            if resource == "*" or str(resource).endswith(":*"):
                yield f"{name}: allows {statement['Action']} on {resource}"


def no_open_principal(resources: Resources) -> Faults:
    for name, _, statement in allowing(resources):
        principal = statement.get("Principal")
        if principal == "*" or (isinstance(principal, dict) and "*" in json.dumps(list(principal.values()))):
            yield f"{name}: allows everybody {statement['Action']}"


def no_ready_made_policy(resources: Resources) -> Faults:
    for name, properties in of_type(resources, "AWS::IAM::Role"):
        for policy in properties.get("ManagedPolicyArns", []):
            yield f"{name}: takes AWS's policy {policy}, which is wider than what the function does"


def a_role_for_each_function(resources: Resources) -> Faults:
    owners: dict[str, str] = {}
    for name, properties in of_type(resources, "AWS::Lambda::Function"):
        role = target(properties["Role"])
        if role is None or role in owners:
            yield f"{name}: has no role of its own"
        owners[role or ""] = name


def gateways_reach_only_themselves(resources: Resources) -> Faults:
    thing = "${iot:Connection.Thing.ThingName}"
    ends = {
        "iot:Connect": {f":client/{thing}"},
        "iot:Publish": {f":topic/$aws/rules/fieldline_ingest/{thing}", f":topic/$aws/rules/fieldline_books/{thing}"},
        "iot:Subscribe": {f":topicfilter/fieldline/{thing}/ack"},
        "iot:Receive": {f":topic/fieldline/{thing}/ack"},
    }
    for name, properties in of_type(resources, "AWS::IoT::Policy"):
        for statement in statements(properties["PolicyDocument"]):
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    # In the template `${!x}` stands for what AWS IoT reads as `${x}`.
                    text = str(resource.get("Fn::Sub", resource) if isinstance(resource, dict) else resource)
                    text = text.replace("${!", "${")
                    if not any(text.endswith("${AWS::AccountId}" + end) for end in ends.get(action, ())):
                        yield f"{name}: {action} on {text}"
            if "iot:Connect" in listed(statement["Action"]) and "iot:Connection.Thing.IsAttached" not in str(
                statement.get("Condition")
            ):
                yield f"{name}: lets in a certificate that is attached to no thing"


def all_encrypted(resources: Resources) -> Faults:
    for name, properties in of_type(resources, "AWS::DynamoDB::Table"):
        if properties.get("SSESpecification", {}).get("SSEEnabled") is not True:
            yield f"{name}: a table without encryption by KMS"
    for name, properties in of_type(resources, "AWS::SQS::Queue"):
        if properties.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in properties:
            yield f"{name}: a queue without encryption"
    for name, properties in of_type(resources, "AWS::SNS::Topic"):
        if "KmsMasterKeyId" not in properties:
            yield f"{name}: a topic without encryption"
    for name, properties in of_type(resources, "AWS::S3::Bucket"):
        if not properties.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
            yield f"{name}: a bucket without encryption"
    for name, properties in of_type(resources, "AWS::KMS::Key"):
        if properties.get("EnableKeyRotation") is not True:
            yield f"{name}: a key that is never changed"


def only_over_tls(resources: Resources) -> Faults:
    guarded = set()
    for kind, key in [("AWS::S3::BucketPolicy", "Bucket"), ("AWS::SQS::QueuePolicy", "Queues")]:
        for _, properties in of_type(resources, kind):
            refuses = [s for s in statements(properties["PolicyDocument"]) if s["Effect"] == "Deny"]
            if any("aws:SecureTransport" in str(statement.get("Condition")) for statement in refuses):
                guarded |= {target(each) for each in listed(properties[key])}
    for kind in ["AWS::S3::Bucket", "AWS::SQS::Queue"]:
        for name, _ in of_type(resources, kind):
            if name not in guarded:
                yield f"{name}: can be reached without TLS"


def buckets_are_private(resources: Resources) -> Faults:
    wanted = {"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"}
    for name, properties in of_type(resources, "AWS::S3::Bucket"):
        block = properties.get("PublicAccessBlockConfiguration", {})
        if {key for key, value in block.items() if value is True} != wanted:
            yield f"{name}: a bucket that can be made public"
        if properties.get("VersioningConfiguration", {}).get("Status") != "Enabled":
            yield f"{name}: a bucket without versions"


def failures_go_somewhere(resources: Resources) -> Faults:
    destinations = {
        target(properties["FunctionName"])
        for _, properties in of_type(resources, "AWS::Lambda::EventInvokeConfig")
        if properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
    }
    queues = dict(of_type(resources, "AWS::SQS::Queue"))
    for name, _ in of_type(resources, "AWS::Lambda::Function"):
        mappings = [
            properties
            for _, properties in of_type(resources, "AWS::Lambda::EventSourceMapping")
            if target(properties["FunctionName"]) == name
        ]
        for mapping in mappings:
            if "RedrivePolicy" not in queues.get(target(mapping["EventSourceArn"]) or "", {}):
                yield f"{name}: its queue has no dead letters"
            if "ReportBatchItemFailures" not in mapping.get("FunctionResponseTypes", []):
                yield f"{name}: one bad message fails its whole batch"
        if not mappings and name not in destinations:
            yield f"{name}: has no destination for what fails"
    for name, properties in of_type(resources, "AWS::SNS::Subscription"):
        if properties["Protocol"] == "sqs" and "RedrivePolicy" not in properties:
            yield f"{name}: what cannot be delivered is lost"
    for name, properties in of_type(resources, "AWS::Events::Rule"):
        for each in properties["Targets"]:
            if "DeadLetterConfig" not in each:
                yield f"{name}: an event that cannot be delivered is lost"
    for name, properties in of_type(resources, "AWS::IoT::TopicRule"):
        if "ErrorAction" not in properties["TopicRulePayload"]:
            yield f"{name}: a failed action goes nowhere"


def dead_letter_queues(resources: Resources) -> set[str]:
    found: set[str | None] = set()
    for kind in ["AWS::SQS::Queue", "AWS::SNS::Subscription"]:
        for _, properties in of_type(resources, kind):
            found.add(target(properties.get("RedrivePolicy", {}).get("deadLetterTargetArn")))
    for _, properties in of_type(resources, "AWS::Lambda::EventInvokeConfig"):
        found.add(target(properties.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")))
    for _, properties in of_type(resources, "AWS::IoT::TopicRule"):
        found.add(target(properties["TopicRulePayload"].get("ErrorAction", {}).get("Sqs", {}).get("QueueUrl")))
    return {name for name in found if name}


def watched(resources: Resources, metric: str) -> set[str | None]:
    """The logical ids in the dimensions of alarms on a metric that tell somebody."""
    return {
        target(dimension["Value"])
        for _, properties in of_type(resources, "AWS::CloudWatch::Alarm")
        if properties.get("MetricName") == metric and properties.get("AlarmActions")
        for dimension in properties["Dimensions"]
    }


def alarms(resources: Resources) -> Faults:
    for name, _ in of_type(resources, "AWS::Lambda::Function"):
        for metric in ["Errors", "Throttles"]:
            if name not in watched(resources, metric):
                yield f"{name}: no alarm on {metric}"
    for name in dead_letter_queues(resources):
        if name not in watched(resources, "ApproximateNumberOfMessagesVisible"):
            yield f"{name}: no alarm on dead letters"
    for _, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        queue = target(mapping["EventSourceArn"])
        if queue not in watched(resources, "ApproximateAgeOfOldestMessage"):
            yield f"{queue}: no alarm on the age of the oldest message"
    if not watched(resources, "LedgerGaps"):
        yield "no alarm on what the ledger misses"


def logs_end(resources: Resources) -> Faults:
    groups = dict(of_type(resources, "AWS::Logs::LogGroup"))
    for name, properties in groups.items():
        if "RetentionInDays" not in properties:
            yield f"{name}: logs are kept for ever"
    for name, properties in of_type(resources, "AWS::Lambda::Function"):
        if target(properties.get("LoggingConfig", {}).get("LogGroup")) not in groups:
            yield f"{name}: logs into a group that the template does not have"


def data_stays(resources: Resources) -> Faults:
    letters = dead_letter_queues(resources)
    for name, resource in resources.items():
        if resource["Type"] in HOLDS_DATA or name in letters:
            for attribute in ["DeletionPolicy", "UpdateReplacePolicy"]:
                if resource.get(attribute) != "Retain":
                    yield f"{name}: {attribute} is not Retain"
    for name, properties in of_type(resources, "AWS::DynamoDB::Table"):
        if not properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
            yield f"{name}: a table that cannot be restored"


def routes_ask_who_it_is(resources: Resources) -> Faults:
    for name, properties in of_type(resources, "AWS::ApiGatewayV2::Route"):
        kind = properties.get("AuthorizationType")
        if kind != "AWS_IAM" and not (kind == "JWT" and "AuthorizerId" in properties):
            yield f"{name}: a route for everybody"


def no_secret_inside(resources: Resources) -> Faults:
    for name, properties in of_type(resources, "AWS::Lambda::Function"):
        for variable, value in properties.get("Environment", {}).get("Variables", {}).items():
            sounds_so = any(word in variable for word in ["PASSWORD", "KEY", "TOKEN"])
            if sounds_so and not variable.endswith("_SECRET") and not variable.endswith("_ARN"):
                yield f"{name}: {variable} looks like a secret in the environment"


RULES: list[Callable[[Resources], Faults]] = [
    no_wildcard_action,
    no_wildcard_resource,
    no_open_principal,
    no_ready_made_policy,
    a_role_for_each_function,
    gateways_reach_only_themselves,
    all_encrypted,
    only_over_tls,
    buckets_are_private,
    failures_go_somewhere,
    alarms,
    logs_end,
    data_stays,
    routes_ask_who_it_is,
    no_secret_inside,
]


def check(resources: Resources) -> list[tuple[str, str]]:
    """What is wrong: the rule's name and the fault."""
    return [(rule.__name__, fault) for rule in RULES for fault in rule(resources)]


# ---- the test of the rules: one change, and the rule that has to see it ---------------------------


def properties_of(resources: Resources, name: str) -> dict[str, Any]:
    return resources[name]["Properties"]


def first_statement(resources: Resources, name: str) -> dict[str, Any]:
    return next(statements(properties_of(resources, name)))


def role_statement(resources: Resources, name: str, policy: str) -> dict[str, Any]:
    (found,) = (each for each in properties_of(resources, name)["Policies"] if each["PolicyName"] == policy)
    return found["PolicyDocument"]["Statement"][0]


def remove(name: str) -> Callable[[Resources], Any]:
    return lambda all: all.pop(name)


def drop(name: str, *path: str) -> Callable[[Resources], Any]:
    """Removes the property at a path."""

    def change(resources: Resources) -> None:
        node = properties_of(resources, name)
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return change


def put(name: str, value: Any, *path: str) -> Callable[[Resources], Any]:
    """Sets the property at a path."""

    def change(resources: Resources) -> None:
        node = properties_of(resources, name)
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value

    return change


def attribute(name: str, key: str) -> Callable[[Resources], Any]:
    return lambda all: all[name].pop(key)


def in_role(name: str, policy: str, key: str, value: Any) -> Callable[[Resources], Any]:
    return lambda all: role_statement(all, name, policy).update({key: value})


def in_gateway_policy(number: int, key: str, value: Any) -> Callable[[Resources], Any]:
    return lambda all: properties_of(all, "GatewayPolicy")["PolicyDocument"]["Statement"][number].update({key: value})


BREAKAGES: list[tuple[str, Callable[[Resources], Any]]] = [
    ("no_wildcard_action", in_role("IngestRole", "ledger", "Action", "dynamodb:*")),
    ("no_wildcard_action", in_role("QueryRole", "ledger", "Action", ["dynamodb:GetItem", "dynamodb:Batch*"])),
    ("no_wildcard_action", in_role("StorageRole", "queue", "NotAction", "sqs:SendMessage")),
    ("no_wildcard_resource", in_role("IngestRole", "blocks", "Resource", "*")),
    ("no_wildcard_resource", in_role("StorageRole", "ledger", "Resource", ["*"])),
    ("no_wildcard_resource", in_role("CompactRole", "readings", "Resource", "arn:aws:s3:*:*:*")),
    ("no_wildcard_resource", in_role("ShadowRole", "shadows", "Resource", "*")),
    ("no_wildcard_resource", in_role("RulesRole", "devices", "Resource", "*")),
    ("no_open_principal", lambda all: first_statement(all, "BlocksQueuePolicy").update({"Principal": "*"})),
    ("no_open_principal", lambda all: first_statement(all, "AlarmTopicPolicy").update({"Principal": {"AWS": "*"}})),
    ("no_ready_made_policy", put("IngestRole", ["arn:aws:iam::aws:policy/AdministratorAccess"], "ManagedPolicyArns")),
    ("a_role_for_each_function", put("QueryFunction", {"Fn::GetAtt": ["StorageRole", "Arn"]}, "Role")),
    ("gateways_reach_only_themselves", in_gateway_policy(0, "Condition", {})),
    ("gateways_reach_only_themselves", in_gateway_policy(0, "Resource", "arn:aws:iot:r:${AWS::AccountId}:client/${iot:ClientId}")),
    ("gateways_reach_only_themselves", in_gateway_policy(1, "Resource", "arn:aws:iot:r:${AWS::AccountId}:topic/$aws/rules/*")),
    ("gateways_reach_only_themselves", in_gateway_policy(2, "Resource", "arn:aws:iot:r:${AWS::AccountId}:topicfilter/fieldline/+/ack")),
    ("gateways_reach_only_themselves", in_gateway_policy(3, "Action", ["iot:Receive", "iot:RetainPublish"])),
    ("all_encrypted", drop("LedgerTable", "SSESpecification")),
    ("all_encrypted", put("LedgerTable", False, "SSESpecification", "SSEEnabled")),
    ("all_encrypted", drop("BlocksQueue", "SqsManagedSseEnabled")),
    ("all_encrypted", drop("RuleDeadLetters", "SqsManagedSseEnabled")),
    ("all_encrypted", drop("BlocksTopic", "KmsMasterKeyId")),
    ("all_encrypted", drop("AlarmTopic", "KmsMasterKeyId")),
    ("all_encrypted", drop("ReadingsBucket", "BucketEncryption")),
    ("all_encrypted", drop("QuarantineBucket", "BucketEncryption")),
    ("all_encrypted", drop("TopicKey", "EnableKeyRotation")),
    ("only_over_tls", remove("ReadingsBucketPolicy")),
    ("only_over_tls", remove("FunctionDeadLettersPolicy")),
    ("buckets_are_private", put("ReadingsBucket", False, "PublicAccessBlockConfiguration", "BlockPublicPolicy")),
    ("buckets_are_private", drop("QuarantineBucket", "PublicAccessBlockConfiguration")),
    ("buckets_are_private", drop("ReadingsBucket", "VersioningConfiguration")),
    ("failures_go_somewhere", remove("IngestFunctionEventInvokeConfig")),
    ("failures_go_somewhere", remove("CompactFunctionEventInvokeConfig")),
    ("failures_go_somewhere", drop("QueryFunctionEventInvokeConfig", "DestinationConfig")),
    ("failures_go_somewhere", drop("BlocksQueue", "RedrivePolicy")),
    ("failures_go_somewhere", drop("StorageFunctionBlocks", "FunctionResponseTypes")),
    ("failures_go_somewhere", drop("BlocksSubscription", "RedrivePolicy")),
    ("failures_go_somewhere", drop("IngestRule", "TopicRulePayload", "ErrorAction")),
    ("failures_go_somewhere", drop("ShadowQueue", "RedrivePolicy")),
    ("failures_go_somewhere", drop("ShadowSubscription", "RedrivePolicy")),
    ("failures_go_somewhere", drop("RulesQueue", "RedrivePolicy")),
    ("failures_go_somewhere", drop("RulesSubscription", "RedrivePolicy")),
    ("failures_go_somewhere", drop("PresenceRule", "TopicRulePayload", "ErrorAction")),
    ("failures_go_somewhere", drop("BooksRule", "TopicRulePayload", "ErrorAction")),
    ("failures_go_somewhere", lambda all: properties_of(all, "CompactFunctionHourly")["Targets"][0].pop("DeadLetterConfig")),
    ("alarms", remove("StorageErrorsAlarm")),
    ("alarms", remove("CompactThrottlesAlarm")),
    ("alarms", remove("BlocksDeadLettersAlarm")),
    ("alarms", remove("RuleDeadLettersAlarm")),
    ("alarms", remove("ShadowQueueAlarm")),
    ("alarms", remove("ShadowDeadLettersAlarm")),
    ("alarms", remove("RulesQueueAlarm")),
    ("alarms", remove("RulesDeadLettersAlarm")),
    ("alarms", remove("OldestBlockAlarm")),
    ("alarms", drop("LedgerGapsAlarm", "AlarmActions")),
    ("logs_end", drop("StorageLogs", "RetentionInDays")),
    ("logs_end", drop("ApiLogs", "RetentionInDays")),
    ("logs_end", drop("QueryFunction", "LoggingConfig")),
    ("data_stays", attribute("LedgerTable", "DeletionPolicy")),
    ("data_stays", attribute("ReadingsBucket", "UpdateReplacePolicy")),
    ("data_stays", attribute("QuarantineBucket", "DeletionPolicy")),
    ("data_stays", attribute("BlocksDeadLetters", "DeletionPolicy")),
    ("data_stays", drop("LedgerTable", "PointInTimeRecoverySpecification")),
    ("routes_ask_who_it_is", put("ApiRoute", "NONE", "AuthorizationType")),
    ("no_secret_inside", put("StorageFunction", "abc", "Environment", "Variables", "FIELDLINE_INFLUX_TOKEN")),
]


def self_test(resources: Resources) -> list[str]:
    faults = []
    for number, (rule, change) in enumerate(BREAKAGES):
        broken = copy.deepcopy(resources)
        change(broken)
        found = check(broken)
        if not found or {name for name, _ in found} != {rule}:
            faults.append(f"breakage {number}: {rule} should have seen it, and it alone; found: {found}")
    untested = {rule.__name__ for rule in RULES} - {rule for rule, _ in BREAKAGES}
    return faults + [f"{rule}: no breakage shows that it can fail" for rule in sorted(untested)]


def main() -> int:
    source = reading.load()
    deployments = {store: reading.deployed(store, source)[0]["Resources"] for store in sorted(reading.PARAMETERS)}
    if sys.argv[1:] == ["--self-test"]:
        faults = self_test(deployments["s3"])
        stream = attribute("TimestreamTable", "DeletionPolicy")
        broken = copy.deepcopy(deployments["timestream"])
        stream(broken)
        if [name for name, _ in check(broken)] != ["data_stays"]:
            faults.append("a Timestream table that goes with the stack has not been seen")
        print("\n".join(faults) or f"{len(BREAKAGES) + 1} breakages, each seen by its rule")
        return 1 if faults else 0
    if sys.argv[1:]:
        print(__doc__, file=sys.stderr)
        return 2
    found = [f"{store}: {rule}: {fault}" for store, made in deployments.items() for rule, fault in check(made)]
    print("\n".join(found) or f"{len(RULES)} rules hold for {', '.join(deployments)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
