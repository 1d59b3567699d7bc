"""What remote servers offer to callers, and calls of it."""
