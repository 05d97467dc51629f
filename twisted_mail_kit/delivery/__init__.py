"""A message's way in: checks, then routing, then its targets."""
