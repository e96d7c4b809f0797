"""What happened to a person, as plain facts, and the one place that decides that it did."""
