"""Connected components: labeled, selected, filled, separated."""
