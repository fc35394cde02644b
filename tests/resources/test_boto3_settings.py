"""The settings that `BedrockResource` shares with the resources of dagster-aws."""

from dagster_aws.utils import ResourceWithBoto3Configuration

from bedrock_assets.resources.boto3_settings import Boto3Resource


def test_the_settings_are_those_of_dagster_aws() -> None:
    """Names, types, defaults and descriptions are the same, so that one YAML of settings serves both."""

    def told(resource: type) -> dict[str, tuple[object, ...]]:
        fields = resource.model_fields.items()
        return {name: (field.annotation, field.default, field.description) for name, field in fields}

    assert told(Boto3Resource) == told(ResourceWithBoto3Configuration)
