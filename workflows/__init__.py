"""Workflow definitions. Saved histories hold their names and their order of commands: change them only with a patch."""
