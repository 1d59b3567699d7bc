"""Sealed credentials of remote servers: envelope, keys, rows, rotation. Spec: remote-servers 4."""
