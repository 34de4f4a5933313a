"""Connected components: label, select, fill and separate them."""
