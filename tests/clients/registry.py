"""The control plane with AWS's own clients, boto3 and the aws command: URL FOLDER.

URL is the server's HTTP listener; FOLDER holds ca.pem, signed.pem (by it) and own.pem (self-signed).
"""

import json
import subprocess
import sys

from aws_local import AWS, boto3, equal, refused
from botocore.config import Config

url, folder = sys.argv[1:]
iot = boto3.client("iot", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))
ARN = "arn:aws:iot:local:000000000000:"
DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
)


def pem(name):
    with open(f"{folder}/{name}.pem", encoding="ascii") as file:
        return file.read()


def pages(operation, member, **parameters):
    """All results, and into how many pages they were cut."""
    parts = [page[member] for page in iot.get_paginator(operation).paginate(**parameters)]
    return [item for part in parts for item in part], len(parts)


def aws(*words):
    command = [AWS, "iot", *words, "--endpoint-url", url, "--output", "json"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return told.returncode, told.stdout, told.stderr


# Types and things.
created = iot.create_thing_type(
    thingTypeName="press", thingTypeProperties={"thingTypeDescription": "a press", "searchableAttributes": ["hall"]}
)
equal(created["thingTypeArn"], ARN + "thingtype/press")
found = iot.describe_thing_type(thingTypeName="press")
equal(found["thingTypeProperties"]["thingTypeDescription"], "a press")
equal(found["thingTypeMetadata"]["deprecated"], False)
assert found["thingTypeMetadata"]["creationDate"].year >= 2024, found
for n in range(30):
    iot.create_thing(
        thingName=f"press-{n:02}",
        thingTypeName="press",
        attributePayload={"attributes": {"hall": str(n % 3), "line": f"l-{n}"}},
    )
iot.create_thing(thingName="oven")
again = iot.create_thing(thingName="oven")
equal(again["thingArn"], ARN + "thing/oven")
refused("ResourceAlreadyExistsException", 409, iot.create_thing, thingName="oven", thingTypeName="press")
try:
    iot.create_thing(thingName="oven", thingTypeName="press")
except iot.exceptions.ResourceAlreadyExistsException as error:
    equal((error.response["resourceArn"], error.response["resourceId"]), (again["thingArn"], again["thingId"]))
refused("ResourceNotFoundException", 404, iot.create_thing, thingName="x", thingTypeName="none")
four = {"attributes": {name: "1" for name in "abcd"}}
refused("InvalidRequestException", 400, iot.create_thing, thingName="x", attributePayload=four)
equal(pages("list_things", "things", PaginationConfig={"PageSize": 10})[1], 4)
names, _ = pages("list_things", "things", attributeName="hall", attributeValue="2", thingTypeName="press")
equal([thing["thingName"] for thing in names], [f"press-{n:02}" for n in range(2, 30, 3)])
prefixed, _ = pages(
    "list_things", "things", attributeName="line", attributeValue="l-2", usePrefixAttributeValue=True
)
equal(len(prefixed), 11)
equal(len(iot.list_things()["things"]), 25)
iot.update_thing(
    thingName="press-00", attributePayload={"attributes": {"hall": "", "gate": "4"}, "merge": True}, expectedVersion=1
)
thing = iot.describe_thing(thingName="press-00")
equal((thing["version"], thing["attributes"]), (2, {"gate": "4", "line": "l-0"}))
equal((thing["thingTypeName"], thing["defaultClientId"]), ("press", "press-00"))
refused("VersionConflictException", 409, iot.update_thing, thingName="press-00", expectedVersion=1)
refused("VersionConflictException", 409, iot.delete_thing, thingName="press-00", expectedVersion=9)
iot.update_thing(thingName="press-00", removeThingType=True)
assert "thingTypeName" not in iot.describe_thing(thingName="press-00")
refused("ResourceNotFoundException", 404, iot.describe_thing, thingName="none")
refused("InvalidRequestException", 400, iot.delete_thing_type, thingTypeName="press")
iot.deprecate_thing_type(thingTypeName="press")
assert iot.describe_thing_type(thingTypeName="press")["thingTypeMetadata"]["deprecated"]
refused("InvalidRequestException", 400, iot.create_thing, thingName="x", thingTypeName="press")
iot.deprecate_thing_type(thingTypeName="press", undoDeprecate=True)
equal([kind["thingTypeName"] for kind in iot.list_thing_types()["thingTypes"]], ["press"])

# Groups.
iot.create_thing_group(thingGroupName="site")
iot.create_thing_group(
    thingGroupName="hall-7",
    parentGroupName="site",
    thingGroupProperties={"thingGroupDescription": "west", "attributePayload": {"attributes": {"floor": "1"}}},
)
group = iot.describe_thing_group(thingGroupName="hall-7")
equal(group["thingGroupMetadata"]["rootToParentThingGroups"], [{"groupName": "site", "groupArn": ARN + "thinggroup/site"}])
equal(group["thingGroupProperties"]["attributePayload"]["attributes"], {"floor": "1"})
iot.update_thing_group(thingGroupName="hall-7", thingGroupProperties={"thingGroupDescription": "east"})
iot.add_thing_to_thing_group(thingName="oven", thingGroupName="hall-7")
iot.add_thing_to_thing_group(thingArn=ARN + "thing/press-01", thingGroupArn=ARN + "thinggroup/hall-7")
equal(iot.list_things_in_thing_group(thingGroupName="site", recursive=True)["things"], ["oven", "press-01"])
equal(iot.list_things_in_thing_group(thingGroupName="site")["things"], [])
equal(iot.list_thing_groups_for_thing(thingName="oven")["thingGroups"][0]["groupName"], "hall-7")
equal([found["groupName"] for found in iot.list_thing_groups(parentGroup="site")["thingGroups"]], ["hall-7"])
iot.remove_thing_from_thing_group(thingName="press-01", thingGroupName="hall-7")
refused("InvalidRequestException", 400, iot.delete_thing_group, thingGroupName="site")
refused("ResourceNotFoundException", 404, iot.describe_thing_group, thingGroupName="none")

# Certificates.
text = refused("InvalidRequestException", 400, iot.create_keys_and_certificate, setAsActive=True)
assert "fieldline certs init" in text, text
own = iot.register_certificate_without_ca(certificatePem=pem("own"), status="ACTIVE")
signed = iot.register_certificate(certificatePem=pem("signed"), caCertificatePem=pem("ca"), setAsActive=False)
refused("ResourceAlreadyExistsException", 409, iot.register_certificate_without_ca, certificatePem=pem("own"))
refused("CertificateValidationException", 400, iot.register_certificate, certificatePem="x")
refused(
    "CertificateValidationException",
    400,
    iot.register_certificate,
    certificatePem=pem("own"),
    caCertificatePem=pem("ca"),
)
described = iot.describe_certificate(certificateId=own["certificateId"])["certificateDescription"]
equal((described["status"], described["certificateMode"]), ("ACTIVE", "SNI_ONLY"))
equal(described["certificatePem"], pem("own"))
assert described["validity"]["notBefore"] < described["validity"]["notAfter"], described
listed, count = pages("list_certificates", "certificates", PaginationConfig={"PageSize": 1})
equal(([found["certificateId"] for found in listed], count), ([signed["certificateId"], own["certificateId"]], 2))
refused(
    "InvalidRequestException",
    400,
    iot.update_certificate,
    certificateId=own["certificateId"],
    newStatus="PENDING_TRANSFER",
)

# Policies, and what is attached to what.
policy = iot.create_policy(policyName="all", policyDocument=DOCUMENT)
equal((policy["policyVersionId"], policy["policyArn"]), ("1", ARN + "policy/all"))
refused("ResourceAlreadyExistsException", 409, iot.create_policy, policyName="all", policyDocument=DOCUMENT)
refused("MalformedPolicyException", 400, iot.create_policy, policyName="bad", policyDocument="{}")
large = DOCUMENT[:-1] + ', "Id": "' + "x" * 2048 + '"}'
refused("MalformedPolicyException", 400, iot.create_policy, policyName="bad", policyDocument=large)
for n in range(2, 6):
    version = iot.create_policy_version(policyName="all", policyDocument=DOCUMENT, setAsDefault=n == 3)
    equal((version["policyVersionId"], version["isDefaultVersion"]), (str(n), n == 3))
refused("VersionsLimitExceededException", 409, iot.create_policy_version, policyName="all", policyDocument=DOCUMENT)
equal(iot.get_policy(policyName="all")["defaultVersionId"], "3")
iot.set_default_policy_version(policyName="all", policyVersionId="1")
refused("DeleteConflictException", 409, iot.delete_policy, policyName="all")
refused("DeleteConflictException", 409, iot.delete_policy_version, policyName="all", policyVersionId="1")
for version in iot.list_policy_versions(policyName="all")["policyVersions"]:
    if not version["isDefaultVersion"]:
        iot.delete_policy_version(policyName="all", policyVersionId=version["versionId"])
iot.attach_policy(policyName="all", target=own["certificateArn"])
iot.attach_policy(policyName="all", target=ARN + "thinggroup/site")
equal(iot.list_attached_policies(target=own["certificateArn"])["policies"], [{"policyName": "all", "policyArn": policy["policyArn"]}])
equal(iot.list_attached_policies(target=ARN + "thinggroup/hall-7")["policies"], [])
equal(len(iot.list_attached_policies(target=ARN + "thinggroup/hall-7", recursive=True)["policies"]), 1)
targets, _ = pages("list_targets_for_policy", "targets", policyName="all", PaginationConfig={"PageSize": 1})
equal(targets, [own["certificateArn"], ARN + "thinggroup/site"])
refused("ResourceNotFoundException", 404, iot.attach_policy, policyName="none", target=own["certificateArn"])
refused("DeleteConflictException", 409, iot.delete_policy, policyName="all")
iot.attach_thing_principal(thingName="oven", principal=own["certificateArn"])
equal(iot.list_thing_principals(thingName="oven")["principals"], [own["certificateArn"]])
equal(iot.list_principal_things(principal=own["certificateArn"])["things"], ["oven"])
both = {"thingPrincipalType": "NON_EXCLUSIVE_THING"}
listed = iot.list_thing_principals_v2(thingName="oven")["thingPrincipalObjects"]
equal(listed, [{"principal": own["certificateArn"], **both}])
listed = iot.list_principal_things_v2(principal=own["certificateArn"])["principalThingObjects"]
equal(listed, [{"thingName": "oven", **both}])
equal(iot.list_tags_for_resource(resourceArn=policy["policyArn"])["tags"], [])
refused("InvalidRequestException", 400, iot.delete_thing, thingName="oven")
refused("CertificateStateException", 406, iot.delete_certificate, certificateId=own["certificateId"])
iot.update_certificate(certificateId=own["certificateId"], newStatus="REVOKED")
refused("DeleteConflictException", 409, iot.delete_certificate, certificateId=own["certificateId"], forceDelete=True)

# And away with it.
iot.detach_thing_principal(thingName="oven", principal=own["certificateArn"])
refused("DeleteConflictException", 409, iot.delete_certificate, certificateId=own["certificateId"])
iot.detach_policy(policyName="all", target=own["certificateArn"])
iot.detach_policy(policyName="all", target=ARN + "thinggroup/site")
iot.delete_certificate(certificateId=own["certificateId"])
refused("ResourceNotFoundException", 404, iot.describe_certificate, certificateId=own["certificateId"])
iot.delete_policy(policyName="all")
refused("ResourceNotFoundException", 404, iot.delete_policy, policyName="all")
iot.delete_thing(thingName="oven")
iot.delete_thing(thingName="oven")
iot.delete_thing_group(thingGroupName="hall-7")
iot.delete_thing_group(thingGroupName="site")
assert iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"] in url

# The same by hand.
code, out, _ = aws("create-thing", "--thing-name", "by-hand", "--attribute-payload", "attributes={hall=7}")
equal((code, json.loads(out)["thingArn"]), (0, ARN + "thing/by-hand"))
code, out, _ = aws("list-things", "--page-size", "7")
equal((code, len(json.loads(out)["things"])), (0, 31))
code, _, told = aws("describe-thing", "--thing-name", "nobody")
assert code != 0 and "ResourceNotFoundException" in told, told
code, out, _ = aws("list-certificates")
equal([found["certificateId"] for found in json.loads(out)["certificates"]], [signed["certificateId"]])
