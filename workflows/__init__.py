"""Workflow definitions. Each name below is part of saved histories: change one only with a patch."""
