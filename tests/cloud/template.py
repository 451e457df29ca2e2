"""Reads `infra/template.yaml` and expands it as AWS would: the SAM transform, then the conditions."""

from __future__ import annotations

import copy
import json
import logging
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

# It would like to report to AWS how it is used.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

TEMPLATE = Path(__file__).resolve().parents[2] / "infra" / "template.yaml"

# The least that each store needs to be told; the template's defaults are the rest.
PARAMETERS = {
    "timestream": {"TimeSeriesStore": "timestream"},
    "s3": {"TimeSeriesStore": "s3"},
    "influxdb": {
        "TimeSeriesStore": "influxdb",
        "InfluxUrl": "http://influx.example.com:8086",
        "InfluxDatabase": "fieldline",
        "InfluxOrg": "fieldline",
        "InfluxTokenSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:fieldline-influx-a1b2c3",
    },
}
IOT_ENDPOINT = "example-ats.iot.us-east-1.amazonaws.com"

Template = dict[str, Any]


def parameters(store: str, template: Template) -> dict[str, Any]:
    """The value of every parameter for a store; `jwt` and an address for alarms, so that all is made."""
    given = PARAMETERS[store] | {
        "IotEndpoint": IOT_ENDPOINT,
        "AlarmEmail": "ops@example.com",
        "ApiAuthorization": "iam" if store == "s3" else "jwt",
        "JwtIssuer": "https://issuer.example.com",
        "JwtAudience": "fieldline",
    }
    defaults = {name: of["Default"] for name, of in template["Parameters"].items() if "Default" in of}
    return defaults | given


def load(path: Path = TEMPLATE) -> Template:
    """The template as it is written; `!Ref x` becomes `{"Ref": "x"}`."""
    return json.loads(json.dumps(yaml_parse(path.read_text())))


def expand(template: Template, values: dict[str, Any], packages: str = "s3://packages") -> Template:
    """The template after the SAM transform. Each function's code is `<packages>/<binary>.zip`."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            binary = resource["Metadata"]["BuildProperties"]["Binary"]
            resource["Properties"]["CodeUri"] = f"{packages}/{binary}.zip"
    return Translator({}, Parser()).translate(template, copy.deepcopy(values))


def holds(condition: Any, template: Template, values: dict[str, Any]) -> bool:
    """Whether a condition, by name or as written, is true."""
    if isinstance(condition, str):
        return holds(template["Conditions"][condition], template, values)
    ((function, arguments),) = condition.items()
    if function == "Condition":
        return holds(arguments, template, values)
    if function == "Fn::Not":
        return not holds(arguments[0], template, values)
    if function == "Fn::And":
        return all(holds(each, template, values) for each in arguments)
    if function == "Fn::Equals":
        one, other = (values[each["Ref"]] if isinstance(each, dict) else each for each in arguments)
        return str(one) == str(other)
    raise ValueError(f"the function {function} in a condition")


def settle(node: Any, template: Template, values: dict[str, Any]) -> Any:
    """`node` with each `Fn::If` replaced by the branch that is taken."""
    if isinstance(node, list):
        return [each for each in (settle(each, template, values) for each in node) if not is_nothing(each)]
    if not isinstance(node, dict):
        return node
    if set(node) == {"Fn::If"}:
        name, then, otherwise = node["Fn::If"]
        return settle(then if holds(name, template, values) else otherwise, template, values)
    settled = {key: settle(value, template, values) for key, value in node.items()}
    return {key: value for key, value in settled.items() if not is_nothing(value)}


def is_nothing(node: Any) -> bool:
    return node == {"Ref": "AWS::NoValue"}


def deployed(store: str, template: Template, packages: str = "s3://packages") -> tuple[Template, dict[str, Any]]:
    """What a store's deployment consists of: no transform, no conditions; and the parameters' values."""
    values = parameters(store, template)
    expanded = expand(template, values, packages)
    made = {
        name: settle(resource, expanded, values)
        for name, resource in expanded["Resources"].items()
        if "Condition" not in resource or holds(resource["Condition"], expanded, values)
    }
    return expanded | {"Resources": made}, values
