"""Rules of HTTP and JSON that every route follows: strict requests, problems, merge patch, conditional requests."""
