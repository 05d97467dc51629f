"""Public helpers for tests: what every store promises, dialogue scripts, fakes."""
