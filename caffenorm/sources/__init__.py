"""Where inputs come from: pictures on disk, and what is done to them before a net sees them."""
