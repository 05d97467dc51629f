"""The parts of the resolver: settings, queries, replies, the ways to a server, the cache, the hosts file."""
