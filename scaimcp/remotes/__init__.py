"""Remote MCP servers: names, rules and stores of the registry. Spec: remote-servers."""
