"""What is decided about remote servers, as pure functions over data."""
