"""The key `gold:`: a column of known answers, against which the model's are held."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from bedrock_assets.limits import Strict

Share = Annotated[float, Field(ge=0, le=1)]


class GoldSpec(Strict):
    """A column of known answers, and what the model's must reach; rows without a known answer are left out."""

    column: str = Field(description="Input column with the known answers. It may not be in the prompt.")
    answer: str | None = Field(
        default=None,
        description="Answer column to compare; by default `label`, the only field of `schema`, or `response`.",
    )
    match: Literal["exact", "normalized"] = Field(
        default="exact",
        description="`normalized` ignores case, spaces, and full stops, quotes and brackets at both ends.",
    )
    min_accuracy: Share | None = Field(default=None, description="Least share of right answers, 0 to 1.")
    min_macro_f1: Share | None = Field(default=None, description="Least mean F1 score of all labels, 0 to 1.")
    min_kappa: float | None = Field(default=None, ge=-1, le=1, description="Least Cohen's kappa, -1 to 1.")

    @property
    def least(self) -> dict[str, float]:
        """The thresholds that are set, by measure."""
        written = {"accuracy": self.min_accuracy, "macro_f1": self.min_macro_f1, "kappa": self.min_kappa}
        return {name: value for name, value in written.items() if value is not None}


def _column_alone(value: Any) -> Any:
    """Allow the column's name in place of all settings."""
    return {"column": value} if isinstance(value, str) else value


Gold = Annotated[GoldSpec, BeforeValidator(_column_alone, json_schema_input_type=str | GoldSpec)]
