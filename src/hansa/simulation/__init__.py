"""Federations on one machine, made to be shaken: the server and the clients that ship, and what is asked of them."""
