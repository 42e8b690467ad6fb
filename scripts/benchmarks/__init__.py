"""The parts of scripts/bench: measure (how), stage and planting (on what), the cases, report."""
