"""The queue: what is to go out, kept between attempts; it wraps any delivery target, and knows no protocol."""
