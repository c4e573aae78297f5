"""Protocols on the lab's streams: real clients and servers, and the dissectors that read their bytes."""
