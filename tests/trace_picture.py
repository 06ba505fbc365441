"""`python -m tests.trace_picture FILE.svg`: the trace of a real delivery, drawn as a collector got it. The platform is
killed between two attempts, and the third is asked for by hand."""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.collector import Collector, Span
from webhooks.testing.platform_process import PlatformProcess
from webhooks.testing.receiver import Receiver

PRODUCER = "0af7651916cd43dd8448eb211c80319c"
_ROW, _LEFT, _WIDTH, _TOP = 20, 400, 1180, 44
_IDLE = 100_000_000
"""Nanoseconds without any span that are drawn as a gap of `_GAP` pixels."""
_GAP = 60
_COLOURS = {"bad": "#c0392b", "http": "#2471a3", "activity": "#1e8449", "workflow": "#7d3c98"}


async def trace() -> list[Span]:
    async with Collector().serving() as collector, Receiver().serving() as receiver:
        with tempfile.TemporaryDirectory() as folder:
            own = PlatformProcess(Path(folder), **collector.environment)
            await own.start()
            event = await own.event()
            url = receiver.tell("/", [503, 503, 200])
            policy = {"initial_interval": 6, "maximum_attempts": 2}
            await own.webhook(event, url, retry_policy=policy)
            answer = await own.http.post(
                "/v1/occurrences",
                json={"event": event, "data": {}},
                headers={"traceparent": f"00-{PRODUCER}-b7ad6b7169203331-01"},
            )
            id = await own.delivery(answer.json())
            await collector.wait(
                lambda spans: any("webhooks.outcome" in span.attributes for span in spans), "an attempt"
            )
            await own.kill()
            await own.start()
            await own.wait(id, "failed")
            await own.post(f"/v1/deliveries/{id}/resend")
            await own.wait(id, "delivered")
            await own.stop()
            await own.close()
        return [span for span in collector.spans if span.trace == PRODUCER]


def draw(spans: list[Span]) -> str:
    rows = list(_tree(spans, {span.id for span in spans}))
    height = _TOP + _ROW * len(rows) + 16
    places, gaps = _axis(spans)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="monospace" '
        f'font-size="12"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="18" fill="#555">trace {PRODUCER}</text>',
    ]
    for x, seconds in gaps:
        drawn.append(
            f'<rect x="{x}" y="{_TOP - 4}" width="{_GAP}" height="{height - _TOP - 4}" fill="#f2f2f2"/>'
            f'<text x="{x + _GAP / 2}" y="{_TOP - 10}" text-anchor="middle" fill="#555">{seconds:.1f} s</text>'
        )
    for number, (depth, span) in enumerate(rows):
        y = _TOP + _ROW * number
        x, end = places[span.start], places[span.end]
        drawn.append(
            f'<text x="{10 + 12 * depth}" y="{y + 13}" fill="#222">{escape(_title(span))}</text>'
            f'<rect x="{x:.1f}" y="{y + 3}" width="{max(end - x, 3):.1f}" height="{_ROW - 6}" rx="2" '
            f'fill="{_COLOURS[_kind(span)]}"/>'
        )
    return "\n".join([*drawn, "</svg>\n"])


def _tree(spans: list[Span], known: set[str], parent: Span | None = None, depth: int = 0) -> Iterator[tuple[int, Span]]:
    for span in sorted(spans, key=lambda span: span.start):
        if span.parent == parent.id if parent else span.parent not in known:
            yield depth, span
            yield from _tree(spans, known, span, depth + 1)


def _axis(spans: list[Span]) -> tuple[dict[int, float], list[tuple[float, float]]]:
    """Where each moment is drawn, and the gaps with their seconds. Busy time shares what the gaps leave."""
    moments = sorted({moment for span in spans for moment in (span.start, span.end)})
    steps = [later - moment for moment, later in itertools.pairwise(moments)]
    busy = sum(step for step in steps if step < _IDLE)
    scale = (_WIDTH - _LEFT - 20 - _GAP * sum(step >= _IDLE for step in steps)) / busy
    x, places, gaps = float(_LEFT), {moments[0]: float(_LEFT)}, []
    for moment, step in zip(moments[1:], steps, strict=True):
        if step >= _IDLE:
            gaps.append((x, step / 1e9))
        x += _GAP if step >= _IDLE else step * scale
        places[moment] = x
    return places, gaps


def _kind(span: Span) -> str:
    if span.failed:
        return "bad"
    if "http.request.method" in span.attributes:
        return "http"
    return "activity" if "Activity" in span.name else "workflow"


def _title(span: Span) -> str:
    said = [span.name]
    if "webhooks.attempt" in span.attributes:
        said.append(f"attempt {span.attributes['webhooks.attempt']}, {span.attributes['webhooks.trigger']}")
    elif "http.response.status_code" in span.attributes:
        said.append(f"{span.attributes['http.response.status_code']}")
    return "  ".join(said)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(asyncio.run(trace())))
