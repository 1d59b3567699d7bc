"""ScaiMCP: one MCP endpoint in front of ScaiGrid."""

__version__ = "0.1.0"
