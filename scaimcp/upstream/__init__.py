"""The MCP client side: remote servers of both eras over streamable HTTP, and HTTP+SSE."""
