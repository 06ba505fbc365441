"""The catalogue: what data an event takes, and what body it becomes."""
