"""The version, where both setup.cfg and the package read it."""

__version__ = "0.1.0"
