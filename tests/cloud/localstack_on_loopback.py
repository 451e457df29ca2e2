"""LocalStack's server, without its one question to the machine's resolver.

Whether `s3.<its own host>` is a name it finds out by asking for it; the answer here is that it is none, and
that S3 is called by the host's own name. This leans on the insides of LocalStack 4.14.0, which is why it
is pinned; `LOCALSTACK_HOST` and the rest of the settings are the environment's.
"""

from localstack.runtime.main import main
from localstack.utils.aws import aws_stack

if not hasattr(aws_stack, "CACHE_S3_HOSTNAME_DNS_STATUS"):
    raise SystemExit("this is not the LocalStack of tests/cloud/localstack.txt")
aws_stack.CACHE_S3_HOSTNAME_DNS_STATUS = False
main()
