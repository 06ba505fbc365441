"""From an occurrence to a delivery for each webhook."""
