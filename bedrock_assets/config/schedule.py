"""When a pipeline runs by itself: `schedule:` in its YAML."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bedrock_assets.limits import Strict


class ScheduleSpec(Strict):
    """Times at which raw data are read anew, and what has changed is answered."""

    cron: str = Field(description="A cron expression of five fields, such as `0 3 * * *`: every night at three.")
    timezone: str = Field(default="UTC", description="The time zone of these times, such as `Europe/Berlin`.")


def _cron_alone(value: Any) -> Any:
    """Allow a cron expression instead of the settings."""
    return {"cron": value} if isinstance(value, str) else value


Schedule = Annotated[ScheduleSpec, BeforeValidator(_cron_alone, json_schema_input_type=str | ScheduleSpec)]
