"""A line in the log that is written for each message."""

from __future__ import annotations

from time import time

from twisted.logger import Logger, LogLevel


def tell(log: Logger, sentence: str, **facts: object) -> None:
    """What ``log.info`` does, for a sentence that is ready; it and its `facts` stay beside it for those who filter.

    Hot path: putting fields into a sentence is most of what a line costs, and `Logger.emit` looks at all levels to
    see whether ours is one. Give it a logger of the module: one of a class is made anew each time it is asked for.
    """
    facts["sentence"] = sentence
    if "{" in sentence or "}" in sentence:
        sentence = sentence.replace("{", "{{").replace("}", "}}")
    facts["log_logger"] = log
    facts["log_level"] = LogLevel.info
    facts["log_namespace"] = log.namespace
    facts["log_source"] = log.source
    facts["log_format"] = sentence
    facts["log_time"] = time()
    log.observer(facts)
