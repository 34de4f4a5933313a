"""What is known of each public data set: where its scans lie and how its annotations are written."""
