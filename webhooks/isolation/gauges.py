"""Gauges of what is in flight and what waits in this process."""

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from webhooks import VERSION
from webhooks.isolation.lane import State
from webhooks.isolation.lanes import Lanes

_meter = get_meter("durable-webhooks", VERSION)


def observe(lanes: Lanes) -> None:
    """Register the gauges of these lanes. Once for each process."""

    def gauge(name: str, unit: str, description: str, read: Callable[[], Iterable[Observation]]) -> None:
        def callback(_: CallbackOptions) -> Iterable[Observation]:
            return read()

        _meter.create_observable_gauge(name, [callback], unit, description)

    def states() -> Sequence[Observation]:
        counted = lanes.totals().states
        return [Observation(counted.get(state, 0), {"state": state.value}) for state in State]

    gauge(
        "webhooks.in_flight",
        "{request}",
        "Requests on their way to receivers",
        lambda: [Observation(lanes.totals().in_flight)],
    )
    gauge(
        "webhooks.waiting",
        "{delivery}",
        "Deliveries that this process resumes when there is room",
        lambda: [Observation(lanes.totals().waiting)],
    )
    gauge("webhooks.lanes", "{lane}", "Webhooks with deliveries under way, by the state of their circuits", states)
