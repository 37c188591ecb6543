# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A program: S3-compatible storage on the loopback, with one bucket, and one user whose signatures it checks.

It needs the extra ``recipes``. Says in its first line, as JSON, where it is and what the user's credentials are; when
its input ends, says what the bucket holds, and ends.

Usage: python tests/s3_server.py BUCKET
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import requests
from botocore.config import Config
from moto.server import ThreadedMotoServer

#: Requests that nobody has to sign: a user, the user's rights, and a key.
_UNSIGNED = 3
_RIGHTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def client(service: str, endpoint: str, key_id: str, secret: str) -> Any:
    """Make a client."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(proxies={}),
    )


def main() -> None:
    """Serve until the input ends."""
    (bucket,) = sys.argv[1:]
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    requests.post(f"{endpoint}/moto-api/reset-auth", data=str(_UNSIGNED), timeout=20).raise_for_status()
    iam = client("iam", endpoint, "nobody", "nothing")
    iam.create_user(UserName="anna")
    iam.put_user_policy(UserName="anna", PolicyName="all", PolicyDocument=json.dumps(_RIGHTS))
    key = iam.create_access_key(UserName="anna")["AccessKey"]
    s3 = client("s3", endpoint, key["AccessKeyId"], key["SecretAccessKey"])
    s3.create_bucket(Bucket=bucket)
    print(json.dumps({"endpoint": endpoint, "key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
    sys.stdout.flush()
    sys.stdin.read()
    print(json.dumps([row["Key"] for row in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]))
    server.stop()


if __name__ == "__main__":
    main()
