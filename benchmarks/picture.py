"""Draw the main results: what a CPU second delivers and what a connection costs, by hub and peers.

Reads what :mod:`benchmarks.fanout` and :mod:`benchmarks.memory` left among the results, and writes an SVG that can be
read on light and on dark pages. Nothing is measured.

    python -m benchmarks.picture [--out docs/performance.svg]
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from benchmarks.candidates import hub, peers
from benchmarks.common import kept
from benchmarks.fanout import MIDDLE

OUT = Path(__file__).parent.parent / "docs" / "performance.svg"

WIDTH = 860
LABEL_WIDTH = 130
PANEL_WIDTH = 345
PANEL_GAP = 20
VALUE_WIDTH = 66
"""Room for the number behind the longest bar."""
TOP = 84
BAR_HEIGHT = 13
ROW_HEIGHT = 42
FOOT = 44

# The hub's bars are blue, those of the peers grey; the compressed ones are the lighter.
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px } .small { font-size: 11.5px; fill: #59636e } .hub-name { font-weight: 600 }
.hub { fill: #0969da } .peer { fill: #818b98 } .compressed { fill-opacity: .45 } .axis { stroke: #818b98 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .small { fill: #9198a1 } .hub { fill: #4493f8 } .peer { fill: #7d8590 }
}
"""


class Bars(NamedTuple):
    """Two numbers of one server; None for what it cannot or did not do."""

    plain: float | None
    compressed: float | None


class Panel(NamedTuple):
    """One half of the picture."""

    title: str
    note: str
    bars: Mapping[str, Bars]
    """By server."""
    is_bytes: bool = False


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the rows of a kept table, by the names of its columns; none if there is no such table."""
    table = kept(name)
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]] if table else []


def number(value: object) -> float | None:
    """Return ``value``, or None if it is the reason why there is no number."""
    return float(value) if isinstance(value, int | float) else None


def fanout_panel() -> Panel:
    """Return what each server delivers at the point where all meet."""
    found: dict[tuple[str, str], float | None] = {
        (row["server"], row[""]): number(row["per CPU s"])
        for row in rows_of("fanout")
        if (row["connections"], row["bytes"]) == MIDDLE
    }
    servers = {server for server, _ in found}
    bars = {it: Bars(found.get((it, "plain")), found.get((it, "compressed"))) for it in servers}
    connections, size = MIDDLE
    note = f"one event of {size / 1000:.1f} KB to {connections:,} connections; more is better"
    return Panel("Deliveries per second of server CPU", note, bars)


def memory_panel() -> Panel:
    """Return what an idle connection costs each server, of the row with the most connections."""
    found: dict[str, float | None] = {}
    for row in sorted(rows_of("memory"), key=lambda row: int(row["connections"])):
        found[row["server"]] = number(row["bytes each"])
    servers = {name.partition(",")[0] for name in found}
    bars = {it: Bars(found.get(it), found.get(f"{it}, compressing")) for it in servers}
    note = "resident bytes of the process; less is better; arrows are cut off"
    return Panel("Memory of an idle connection", note, bars, True)


def label_of(value: float, *, is_bytes: bool) -> str:
    """Return a number as people say it."""
    if is_bytes:
        return f"{value / 1000:.1f} KB" if value < 99_500 else f"{value / 1000:.0f} KB"
    return f"{value:,.0f}" if value < 1_000 else f"{round(value, -2):,.0f}"


def scale_of(panel: Panel) -> float:
    """Return the value of a bar of full length: the longest plain one; what is longer is cut off."""
    return max((bars.plain for bars in panel.bars.values() if bars.plain), default=1.0)


def bar(panel: Panel, value: float, left: float, top: float, classes: str) -> Iterator[str]:
    """Yield a bar with its number; one that is cut off ends in a point."""
    room = PANEL_WIDTH - VALUE_WIDTH
    share = value / scale_of(panel)
    length = max(1.0, min(share, 1.0) * room)
    end = left + length
    middle, bottom = top + BAR_HEIGHT / 2, top + BAR_HEIGHT
    if share > 1:
        shape = f"M{left} {top}H{end - 7:.1f}L{end:.1f} {middle}L{end - 7:.1f} {bottom}H{left}Z"
    else:
        shape = f"M{left} {top}H{end:.1f}V{bottom}H{left}Z"
    yield f'<path class="{classes}" d="{shape}"/>'
    label = label_of(value, is_bytes=panel.is_bytes)
    yield f'<text class="small" x="{end + 5:.1f}" y="{bottom - 2.5}">{label}</text>'


def panel_of(panel: Panel, servers: Sequence[str], left: float) -> Iterator[str]:
    """Yield one half of the picture."""
    yield f'<text class="title" x="{left}" y="22">{escape(panel.title)}</text>'
    yield f'<text class="small" x="{left}" y="40">{escape(panel.note)}</text>'
    for position, server in enumerate(servers):
        top = TOP + position * ROW_HEIGHT
        owner = "hub" if server == servers[0] else "peer"
        plain, compressed = panel.bars.get(server, Bars(None, None))
        if plain is not None:
            yield from bar(panel, plain, left, top, owner)
        if compressed is not None:
            yield from bar(panel, compressed, left, top + BAR_HEIGHT + 2, f"{owner} compressed")
    bottom = TOP + len(servers) * ROW_HEIGHT - 8
    yield f'<path class="axis" d="M{left - 0.5} {TOP - 6}V{bottom}"/>'


def legend(left: float) -> Iterator[str]:
    """Yield what the shades stand for."""
    for classes, text in (("peer", "plain"), ("peer compressed", "with permessage-deflate")):
        yield f'<rect class="{classes}" x="{left}" y="52" width="13" height="13"/>'
        yield f'<text class="small" x="{left + 18}" y="62.5">{text}</text>'
        left += 70


def draw() -> str:
    """Return the picture. Servers of which nothing is known are left out."""
    panels = fanout_panel(), memory_panel()
    order = [hub("").name, *(peer.name for peer in peers())]
    servers = [name for name in order if any(name in panel.bars for panel in panels)]
    height = TOP + len(servers) * ROW_HEIGHT + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        'role="img" aria-labelledby="title">',
        '<title id="title">Fan-out and memory of the hub beside other servers</title>',
        f"<style>{STYLE}</style>",
        *legend(LABEL_WIDTH),
    ]
    for position, server in enumerate(servers):
        y = TOP + position * ROW_HEIGHT + BAR_HEIGHT + 5
        classes = ' class="hub-name"' if not position else ""
        parts.append(
            f'<text{classes} x="{LABEL_WIDTH - 12}" y="{y}" text-anchor="end">{escape(server)}</text>'
        )
    for position, panel in enumerate(panels):
        parts += panel_of(panel, servers, LABEL_WIDTH + position * (PANEL_WIDTH + PANEL_GAP))
    parts.append(f'<text class="small" x="{LABEL_WIDTH}" y="{height - 16}">{escape(source())}</text>')
    return "\n".join([*parts, "</svg>\n"])


def source() -> str:
    """Return where the numbers come from."""
    table = kept("fanout") or kept("memory") or {"machine": "", "taken": "never"}
    return f"{table['machine'].partition(';')[0]}, one core for each server; {table['taken']}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=OUT)
    path: Path = parser.parse_args().out
    path.write_text(draw())
    print(path)


if __name__ == "__main__":
    main()
