"""The use cases of registering remote servers."""
