"""Separable B-spline interpolation: the recursive filter and the weighted sums."""
