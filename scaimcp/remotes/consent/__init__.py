"""Questions to users before calls of remote tools, and their answers."""
