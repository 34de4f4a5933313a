"""What only the search for lungs needs: the trachea, coarse grids, rays to the ribs."""
