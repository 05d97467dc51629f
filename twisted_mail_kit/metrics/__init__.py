"""What the server counts: numbers that cost next to nothing until somebody asks for them."""
