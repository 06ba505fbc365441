"""What the platform tells its operators: metrics, traces and log."""
