"""Adapters to the places where CRMs keep sessions. One port, one file per kind of store."""
