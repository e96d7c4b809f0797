"""`python -m scim_server` is the same as `scim-server`."""

from scim_server.cli import main

if __name__ == "__main__":
    main()
