"""Put the kept results into docs/performance.md.

The page has a place for each table, between ``<!-- table: NAME -->`` and ``<!-- end -->``. Tables of which there are no
results stay as they are, and so does the text: read it again after this. Nothing is measured.

    python -m benchmarks.report [--page docs/performance.md]
"""

import argparse
import re
from pathlib import Path
from typing import Any

from benchmarks.common import cell_text, kept

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"

_PLACE = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(table: dict[str, Any]) -> str:
    """Return a kept table in Markdown, with its notes below."""
    head = " | ".join(table["columns"])
    line = " | ".join(["---"] + ["---:"] * (len(table["columns"]) - 1))
    rows = [" | ".join(map(cell_text, row)) for row in table["rows"]]
    lines = [f"| {row} |".replace("|  |", "| |") for row in (head, line, *rows)]
    notes = [f"\n{note}" for note in table["notes"]]
    taken = f"\n{table['taken']}, {table['machine']}."
    # An event's name has asterisks, which would be emphasis.
    return "\n".join([*lines, *notes, taken, ""]).replace("*", r"\*")


def filled(page: str) -> str:
    """Return ``page`` with the newest results in the places of its tables."""

    def place(found: re.Match[str]) -> str:
        table = kept(found[2])
        return found[0] if table is None else f"{found[1]}\n{markdown(table)}\n{found[3]}"

    return _PLACE.sub(place, page)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    path: Path = parser.parse_args().page
    path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
