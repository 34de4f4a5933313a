"""Volume to volume: resampling, intensity, lungs, nodules; arrays and geometry in, the same out."""
