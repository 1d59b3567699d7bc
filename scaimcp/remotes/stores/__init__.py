"""The SQL of remote servers; nothing else writes any."""
