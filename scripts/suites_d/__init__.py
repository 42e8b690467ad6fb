"""The parts of scripts/suites: the command, one module per suite, what is expected to fail."""
