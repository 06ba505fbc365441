"""The routes: one file for each resource, or one folder if a file is not enough."""
