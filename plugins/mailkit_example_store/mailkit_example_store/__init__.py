"""What the dropin names: the plugin's keys in the ``[store]`` table, and the function that makes the store of them."""

from pathlib import Path

from attrs import frozen


@frozen(kw_only=True)
class Options:
    """The plugin's own keys in ``[store]``."""

    path: str = "example-store"
    """A directory; where it is relative, below the server's state."""


def make_store(options, context):
    """Called once, when the server starts. What is heavy is imported here, not in the dropin."""
    from mailkit_example_store.store import ExampleStore

    return ExampleStore(Path(context.state_dir) / options.path, context.clock.seconds)
