"""The only way to receivers: every request to an address that a tenant chose is made in this folder."""
