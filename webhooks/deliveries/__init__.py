"""A delivery in Temporal: started, found, read back, sent again."""
