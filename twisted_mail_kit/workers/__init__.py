"""Several processes: an owner that writes and queues, and workers that hold the sessions. Start with `owner.py`."""
