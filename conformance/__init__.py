"""A conformance kit for any SCIM 2.0 server: `python -m conformance BASE_URL` gives a verdict per requirement.

A black box: it knows a server by its address and a token only, and imports nothing of scim_server.
RFC 7643, RFC 7644, RFC 9865, what Entra ID and Okta need, and the session termination contract.
"""
