"""HTTP: routes, limits, authentication, replies. Knows SCIM's messages, nothing of databases or stores."""
