"""What the server does, as functions: each reads, decides, makes one Change and commits it."""
