"""What can be invoked: one file for each tool in the box, and the registry that knows them."""
