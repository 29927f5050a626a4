"""What computes: one object with all ops per device, each family described in `interface`."""
