"""The main job, done in front of you: `python -m demo`."""
