"""Numbers as people read them, beside the plain ones that Dagster plots."""

_SIZES = ("B", "kB", "MB", "GB", "TB")
_KILO = 1000
_COUNTS = ((1_000_000_000, "billion"), (1_000_000, "million"), (10_000, "thousand"))


def significant(value: float, digits: int = 6) -> float:
    """A number without digits that say nothing; plots and sums keep their accuracy."""
    return float(f"{value:.{digits}g}")


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


def rounded(n: int) -> str:
    """A large count to two or three digits: `9,532`, `48 thousand`, `4.1 million`."""
    for least, unit in _COUNTS:
        if n >= least:
            value = n / (_KILO if unit == "thousand" else least)
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"  # noqa: PLR2004 - two digits
    return f"{n:,}"


def counted(n: int, noun: str, verb: str = "", of: int | None = None) -> str:
    """
    A count in words: `1 row`, `3,626 rows`, `1 shard waits`, `2 of 3 shards have`.

    Args:
        verb: As said of many: `have`, `wait`.
        of: All that are there.
    """
    n_named = n if of is None else of
    words = f"{n_named:,} {noun}" if n_named == 1 else f"{n_named:,} {noun}s"
    verb = {"have": "has", "are": "is"}.get(verb, f"{verb}s") if verb and n == 1 else verb
    return (words if of is None else f"{n:,} of {words}") + (f" {verb}" if verb else "")
