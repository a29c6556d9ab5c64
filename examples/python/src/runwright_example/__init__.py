"""A backend that shows what the client can do."""
