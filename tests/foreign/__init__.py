"""MCP servers that other people's software makes, used through the gateway and without it."""
