"""What the library's speed and memory are measured against: `make bench`."""
