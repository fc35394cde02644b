"""`bedrock-assets iam`: the least-privilege IAM documents of a deployment."""

from typing import Annotated

import typer

from bedrock_assets.cli.common import print_json, session


def iam(
    store: Annotated[str, typer.Option(help="s3://bucket/prefix of the store.")],
    role_arn: Annotated[str, typer.Option(help="Service role that Bedrock assumes.")],
    region: Annotated[str, typer.Option(envvar="AWS_REGION", help="Region of the jobs.")],
    key_arn: Annotated[str | None, typer.Option(help="KMS key that encrypts the bucket's files.")] = None,
    events_queue: Annotated[str, typer.Option(help="ARN of the SQS queue of events, if there is one.")] = "",
    subnet_ids: Annotated[str, typer.Option(help="Subnets of jobs in a VPC, separated by commas.")] = "",
    security_group_ids: Annotated[str, typer.Option(help="Their security groups.")] = "",
    tags: Annotated[bool, typer.Option("--tags", help="Jobs are tagged.")] = False,
    cloudwatch: Annotated[bool, typer.Option("--cloudwatch", help="Metrics are read from CloudWatch.")] = False,
    assume_role_arn: Annotated[str, typer.Option(help="Role of another account to assume for calls.")] = "",
    vector_bucket: Annotated[str, typer.Option(help="Vector bucket of a sink `s3_vectors`, if there is one.")] = "",
) -> None:
    """Print the IAM documents of a deployment, as JSON: the caller's policy, the role's policy and its trust."""
    from bedrock_assets.aws.iam import Deployment, caller_policy, doctor_policy, role_policy, role_trust
    from bedrock_assets.config.job_settings import Vpc, parse_list

    with session():
        vpc = Vpc.of(parse_list(subnet_ids), parse_list(security_group_ids))
        subnets, groups = (vpc.subnet_ids, vpc.security_group_ids) if vpc else ((), ())
        deployment = Deployment(
            store,
            role_arn,
            region,
            key_arn,
            events_queue,
            subnets,
            groups,
            tags,
            cloudwatch,
            assume_role_arn,
            vector_bucket,
        )
    documents = (caller_policy, doctor_policy, role_policy, role_trust)
    print_json({document.__name__: document(deployment) for document in documents})
