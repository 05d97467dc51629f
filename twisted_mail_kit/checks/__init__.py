"""What is asked of a message on its way in, one check a file."""
