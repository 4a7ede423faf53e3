"""Keeping the program running: service files, and the service managers that read them."""
