"""What the gateway finds out about remote servers: discovery, health, news."""
