"""Tables of days and the words for them."""

from datetime import date


def cases(table: str) -> list[tuple[str, date, str]]:
    """Rows `words = day` below the day on which they are said."""
    rows = []
    for block in table.strip().split("#"):
        said, *lines = block.strip().splitlines()
        rows += [(*line.split(" = ")[:1], date.fromisoformat(said), line.split(" = ")[1]) for line in lines]
    return rows
