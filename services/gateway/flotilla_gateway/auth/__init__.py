"""Who is calling: one interface, one way a credential is proven."""
