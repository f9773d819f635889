"""Filters of the templates, where Django looks for them."""
