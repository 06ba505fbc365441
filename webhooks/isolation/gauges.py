"""Gauges of what is in flight and what waits in this process."""

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from webhooks import VERSION
from webhooks.isolation.held_back import HeldBack
from webhooks.isolation.lane import State
from webhooks.isolation.lanes import Lanes
from webhooks.isolation.waiting_room import WaitingRoom

_meter = get_meter("durable-webhooks", VERSION)


def observe_publications(room: WaitingRoom, held_back: HeldBack) -> None:
    """Register the gauge of what waits to be published. Once for each process with an API."""
    _gauge(
        "webhooks.publications",
        "{request}",
        "Publications that wait for room, and refusals that are held back",
        lambda: [
            Observation(room.waiting(), {"state": "waiting"}),
            Observation(held_back.held(), {"state": "held_back"}),
        ],
    )


def observe(lanes: Lanes) -> None:
    """Register the gauges of these lanes. Once for each process."""

    def states() -> Sequence[Observation]:
        counted = lanes.totals().states
        return [Observation(counted.get(state, 0), {"state": state.value}) for state in State]

    _gauge(
        "webhooks.in_flight",
        "{request}",
        "Requests on their way to receivers",
        lambda: [Observation(lanes.totals().in_flight)],
    )
    _gauge(
        "webhooks.waiting",
        "{delivery}",
        "Deliveries that this process resumes when there is room",
        lambda: [Observation(lanes.totals().waiting)],
    )
    _gauge("webhooks.lanes", "{lane}", "Webhooks with deliveries under way, by the state of their circuits", states)


def _gauge(name: str, unit: str, description: str, read: Callable[[], Iterable[Observation]]) -> None:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return read()

    _meter.create_observable_gauge(name, [callback], unit, description)
