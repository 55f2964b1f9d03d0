"""The docks: forms that translate clicks into acts of the session, and show what it says."""
