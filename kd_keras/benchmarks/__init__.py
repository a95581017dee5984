"""What things cost, each beside its alternative in one process."""
