"""The key `redact:`: columns whose personal data are replaced in prompts."""

from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BeforeValidator, Field, field_validator

from bedrock_assets.limits import Strict

Kind = Literal["email", "iban", "card", "ip", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class RedactSpec(Strict):
    """Columns in which what is found is replaced by tokens such as `<EMAIL_1>`, before a prompt is made of them."""

    columns: tuple[str, ...] = Field(min_length=1, description="Columns of the dataset; the table keeps them.")
    kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1, description="What is looked for.")

    @field_validator("columns", "kinds", mode="before")
    @classmethod
    def _each_once(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        values = cast("list[Any] | tuple[Any, ...]", value)
        if not values:
            raise ValueError("nothing is named, so nothing would be replaced; name what to replace, or remove `redact`")
        return tuple(one for i, one in enumerate(values) if one not in values[:i])


def _columns_alone(value: Any) -> Any:
    """Allow the columns, or the only one, in place of all settings."""
    if isinstance(value, str):
        return {"columns": (value,)}
    return {"columns": value} if isinstance(value, list | tuple) else value


Redact = Annotated[RedactSpec, BeforeValidator(_columns_alone, json_schema_input_type=str | list[str] | RedactSpec)]
