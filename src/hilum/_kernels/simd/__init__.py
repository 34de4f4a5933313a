"""Vector instructions, and memory aligned for them."""
