"""The separable B-spline: the recursive filter and the weighted sums."""
