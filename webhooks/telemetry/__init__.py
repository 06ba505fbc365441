"""What the platform says of itself: metrics, traces, log."""
