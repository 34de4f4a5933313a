"""Vector instructions, and memory laid out for them."""
