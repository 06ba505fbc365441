"""The models of requests and responses: one file for each resource."""
