"""boto3 against a server on this machine: importing this keeps AWS's own clients from looking for an account."""

import os
import sys

# Before boto3 is loaded: nothing here may look for an account, or leave this machine.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)
sys.dont_write_bytecode = True

import boto3
from botocore.config import Config

# The aws command of this environment.
AWS = os.path.join(os.path.dirname(sys.executable), "aws")


def iot_data(url):
    """AWS IoT's data plane at URL, each request tried once."""
    return boto3.client("iot-data", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}))


def refused(code, status, call, **parameters):
    """Expects this exception with this HTTP status, and gives its message."""
    try:
        call(**parameters)
    except call.__self__.exceptions.ClientError as error:
        told = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert told == (code, status), (told, error)
        assert isinstance(error, getattr(call.__self__.exceptions, code)), type(error)
        message = error.response["Error"]["Message"]
        assert message, error
        return message
    sys.exit(f"{call.__name__} was taken: {parameters}")


def equal(found, expected):
    """Exits, with both, when they differ."""
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")
