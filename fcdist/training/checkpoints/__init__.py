"""Training state that cannot be lost: written in parts, found again, and only for the run it belongs to."""
