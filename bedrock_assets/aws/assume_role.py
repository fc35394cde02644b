"""Calls as a role of another account, whose credentials are renewed before they expire."""

from typing import TYPE_CHECKING, Any

from bedrock_assets.aws.sessions import open_core

if TYPE_CHECKING:
    from boto3 import Session


SESSION_NAME = "bedrock-assets"
"""Identifies our calls in the other account's CloudTrail."""


def assumed(session: "Session", role_arn: str, external_id: str | None = None) -> "Session":
    """
    A session in the same Region with the credentials of a role; they are requested when first needed.

    Args:
        session: Who may assume the role.
        external_id: External id, if the role's trust requires one.
    """
    import boto3
    from botocore.credentials import CredentialProvider, DeferredRefreshableCredentials

    given = {"ExternalId": external_id} if external_id else {}

    def refreshed() -> dict[str, str]:
        client: Any = session.client("sts")
        answer = client.assume_role(RoleArn=role_arn, RoleSessionName=SESSION_NAME, **given)
        credentials = answer["Credentials"]
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["SessionToken"],
            "expiry_time": credentials["Expiration"].isoformat(),
        }

    class Assumed(CredentialProvider):
        METHOD = "assume-role"

        def load(self) -> Any:
            return DeferredRefreshableCredentials(refreshed, self.METHOD)

    core = open_core()
    core.get_component("credential_provider").insert_before("env", Assumed())
    return boto3.Session(botocore_session=core, region_name=session.region_name)
