"""A SCIM 2.0 provisioning server that ends a leaver's live CRM sessions before it answers."""

__version__ = "0.1.0"
