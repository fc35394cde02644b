"""boto3 sessions that read the descriptions of AWS's services once a process, not once a session."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.loaders import Loader


def open_session(**settings: Any) -> "Session":
    """
    A boto3 session of its own, with credentials of its own.

    botocore parses megabytes of JSON for the first client of a session: 0.1 s of processor time. A sensor that opens
    a session at each tick would pay that each time.

    Args:
        settings: `profile_name`, `region_name`, `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`.

    Raises:
        botocore.exceptions.ProfileNotFound: No profile has this name.
    """
    import boto3

    return boto3.Session(botocore_session=open_core(settings.get("profile_name")), **settings)


def open_core(profile_name: str | None = None) -> Any:
    """The botocore session below such a session, for credentials that boto3 has no argument for."""
    from botocore.session import Session as Core

    core = Core(profile=profile_name)
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return core


@cache
def _loader(data_path: str | None) -> "Loader":
    from botocore.loaders import Loader, create_loader

    paths = tuple(create_loader(data_path).search_paths)

    class Shared(Loader):
        @property
        def search_paths(self) -> list[str]:
            return list(paths)  # boto3 appends a folder of its own at each session: to a copy, or the list would grow

    return Shared()
