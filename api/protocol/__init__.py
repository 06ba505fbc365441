"""What HTTP and JSON ask of every route: problems, merge patch, conditional requests."""
