"""WriftAI's own Python interface, for programs that were written for it."""
