"""Numbers as people read them, beside the plain ones that Dagster plots."""

import math

from bedrock_assets.prices import Tokens

_SIZES = ("B", "kB", "MB", "GB", "TB")
_KILO = 1000
_CENT = 0.01


def significant(value: float, digits: int = 6) -> float:
    """A number without digits that say nothing; plots and sums keep their accuracy."""
    return float(f"{value:.{digits}g}")


def usd(value: float) -> str:
    """US dollars: `0.16 USD`; below a cent with two digits that are not 0: `0.0042 USD`."""
    n_decimals = 2 if value == 0 else max(2, 1 - math.floor(math.log10(value)))
    return f"{value:,.{n_decimals if value < _CENT else 2}f} USD"


def size(n_bytes: int) -> str:
    """Bytes in powers of 1000: `6.2 MB`."""
    value, units = float(n_bytes), list(_SIZES)
    while value >= _KILO and len(units) > 1:
        value /= _KILO
        units.pop(0)
    return f"{n_bytes} B" if value == n_bytes else f"{value:.1f} {units[0]}"


def duration(seconds: float) -> str:
    """`48 s`, `2 min 5 s`, `3 h 12 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def token_counts(tokens: Tokens) -> dict[str, int]:
    """Input and output tokens of all inference modes, for metadata."""
    counts = list(tokens.values())
    return {"input_tokens": sum(n for n, _ in counts), "output_tokens": sum(n for _, n in counts)}
