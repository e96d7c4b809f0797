"""SCIM as pure functions and data (RFC 7643, RFC 7644): no I/O, no clock, no ids."""
