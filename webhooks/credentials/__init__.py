"""What a webhook proves itself with, and how that is sealed."""
