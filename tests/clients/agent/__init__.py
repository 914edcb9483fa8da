"""Clients of the node agent."""
