"""Gets committed terminations to the session stores: at once within a budget, then until it is done."""
